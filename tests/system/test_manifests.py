"""conf/compose.yaml and conf/kubernetes.yaml are understood by what they are
for, without an engine and a cluster: test_container.py starts the program with
the settings that they have."""

import os
import re
import subprocess

import pytest
import yaml

from harness import ROOT

COMPOSE = os.path.join(ROOT, "conf/compose.yaml")
KUBERNETES = os.path.join(ROOT, "conf/kubernetes.yaml")
SCALARS = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def faults(kind, value, path):
    """Fields that the interface of Kubernetes does not have, or has with
    another type; kind is the name of a type as its client spells it."""
    of_list = re.fullmatch(r"list\[(.*)\]", kind)
    of_dict = re.fullmatch(r"dict\(str, (.*)\)", kind)
    if of_list:
        return [x for n, item in enumerate(value) for x in
                faults(of_list.group(1), item, "%s[%d]" % (path, n))]
    if of_dict:
        return [x for k, item in value.items() for x in
                faults(of_dict.group(1), item, "%s.%s" % (path, k))]
    if kind in SCALARS:
        fits = isinstance(value, SCALARS[kind]) and (
            kind == "bool") == isinstance(value, bool)
        return [] if fits else ["%s: %r is no %s" % (path, value, kind)]
    if kind == "object":  # an int or a string
        return []
    from kubernetes import client  # slow, and other tests need it not
    return faults_of_object(getattr(client, kind), value, path)


def faults_of_object(model, value, path):
    fields = {name: python for python, name in model.attribute_map.items()}
    found = ["%s: no field of %s" % ("%s.%s" % (path, k), model.__name__)
             for k in value if k not in fields]
    known = {k: v for k, v in value.items() if k in fields}
    for k, v in known.items():
        found += faults(model.openapi_types[fields[k]], v,
                        "%s.%s" % (path, k))
    try:
        model(**{fields[k]: v for k, v in known.items()})
    except ValueError as e:  # a field is missing
        found.append("%s: %s" % (path, e))
    return found


def objects():
    with open(KUBERNETES) as f:
        return list(yaml.safe_load_all(f))


def test_kubernetes_has_these_fields():
    assert [x["kind"] for x in objects()] == ["Service", "StatefulSet"]
    for it in objects():
        assert faults("V1" + it["kind"], it, it["kind"]) == []


@pytest.mark.parametrize("change", [
    lambda c: c.update(lifecyle=c.pop("lifecycle")),
    lambda c: c.pop("name"),
    lambda c: c["ports"][0].update(containerPort="25"),
    lambda c: c["securityContext"].update(readOnlyRootFilesystem=1),
], ids=["misspelt", "missing", "string", "number"])
def test_a_wrong_field_is_noticed(change):
    it = objects()[1]
    change(it["spec"]["template"]["spec"]["containers"][0])
    assert len(faults("V1StatefulSet", it, "it")) == 1


def test_compose_reads_its_file():
    done = subprocess.run(["docker-compose", "-f", COMPOSE, "config"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["mta"]
    assert service["build"] == {"context": ROOT,
                                "dockerfile": "conf/Containerfile"}
    assert service["stop_grace_period"] == "10s"
