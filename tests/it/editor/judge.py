# Judges YAML files by JSON Schemas as an editor does. Reads [[schema file, YAML text], …] from standard input as JSON; prints for each the
# places at which something is wrong, as `steps.0.template: message`, the innermost cause of each.
import json, sys, yaml
import jsonschema

class Loader(yaml.SafeLoader):
    pass

# YAML 1.2, as editors and we read it: dates, times and yes/no are text.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if not tag.endswith((":timestamp", ":bool", ":int"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
import re
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))
Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("^[-+]?[0-9]+$"), list("-+0123456789"))

def innermost(error):
    if not error.context:
        return [error]
    if error.validator in ("anyOf", "oneOf"):
        # What comes furthest is what was meant.
        deepest = max(len(e.absolute_path) for e in error.context)
        if deepest == len(error.absolute_path):
            return [error]
        return [x for e in error.context if len(e.absolute_path) == deepest for x in innermost(e)]
    return [x for e in error.context for x in innermost(e)]

schemas = {}
out = []
for file, text in json.load(sys.stdin):
    if file not in schemas:
        schema = json.load(open(file))
        jsonschema.Draft7Validator.check_schema(schema)
        schemas[file] = jsonschema.Draft7Validator(schema)
    found = []
    for error in schemas[file].iter_errors(yaml.load(text, Loader)):
        for e in innermost(error):
            found.append(".".join(map(str, e.absolute_path)) + ": " + e.message[:120])
    out.append(sorted(set(found)))
print(json.dumps(out))
