"""Checks events, one a line on standard input, against the published schema of OCSF that its version names.

The schema is that of the class and of the profiles that the event declares: a key that these do not have is wrong.
Prints one JSON object a line: the class, and what is wrong."""

import functools
import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema


@functools.cache
def published(version):
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))


@functools.cache
def validator(version, uid, profiles):
    schema = published(version)
    schema = schema.get_class_schema(schema.lookup_class_name_from_uid(uid), list(profiles))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def captions(version, uid):
    """The names that go with the numbers, which a JSON Schema does not ask for."""
    schema = published(version).schema
    about = schema.schema["classes"][schema.lookup_class_name_from_uid(uid)]
    activities = about["attributes"]["activity_id"]["enum"]
    return about["caption"], {int(number): name["caption"] for number, name in activities.items()}


def wrong(event):
    version, uid = event["metadata"]["version"], event["class_uid"]
    check = validator(version, uid, tuple(event["metadata"]["profiles"]))
    found = [f"{error.json_path}: {error.message}"[:300] for error in check.iter_errors(event)]
    caption, activities = captions(version, uid)
    if event["class_name"] != caption:
        found.append(f"$.class_name: {event['class_name']} is not {caption}")
    activity = event["activity_id"]
    if activity != 99 and event["activity_name"] != activities.get(activity):
        found.append(f"$.activity_name: {event['activity_name']} is not {activities.get(activity)}")
    return found


for line in sys.stdin:
    event = json.loads(line)
    try:
        print(json.dumps({"class": event["class_uid"], "wrong": wrong(event)}))
    except (KeyError, OSError, ValueError) as error:
        print(json.dumps({"class": None, "wrong": [repr(error)]}))
