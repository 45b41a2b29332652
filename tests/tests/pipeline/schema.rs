//! Checks values against the part of JSON Schema that `event.schema.json` uses.

use serde_json::Value;

/// Why a value does not fit.
pub fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(path) = schema["$ref"].as_str() {
        let found = root.pointer(path.strip_prefix('#').unwrap()).ok_or_else(|| format!("{path} is not there"))?;
        return check(root, found, value);
    }
    for known in schema.as_object().unwrap().keys() {
        let names = [
            "type",
            "const",
            "enum",
            "anyOf",
            "pattern",
            "items",
            "properties",
            "required",
            "additionalProperties",
            "description",
            "format",
        ];
        assert!(names.contains(&known.as_str()), "this check does not know `{known}`");
    }
    let fits = |fits: bool, what: &str| if fits { Ok(()) } else { Err(format!("{value} is not {what}")) };
    if let Some(choices) = schema["anyOf"].as_array() {
        fits(choices.iter().any(|choice| check(root, choice, value).is_ok()), "any of the choices")?;
    }
    if let Some(types) = schema.get("type") {
        let types = types.as_array().cloned().unwrap_or_else(|| vec![types.clone()]);
        fits(types.iter().any(|it| is_a(it.as_str().unwrap(), value)), &format!("{types:?}"))?;
    }
    if let Some(wanted) = schema.get("const") {
        fits(value == wanted, &wanted.to_string())?;
    }
    if let Some(words) = schema["enum"].as_array() {
        fits(words.contains(value), &format!("{words:?}"))?;
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        fits(regex::Regex::new(pattern).unwrap().is_match(text), pattern)?;
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values.iter().try_for_each(|value| check(root, items, value))?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        fits(fields.contains_key(name.as_str().unwrap()), &format!("with {name}"))?;
    }
    for (name, field) in fields {
        match schema["properties"].get(name) {
            Some(schema) => check(root, schema, field).map_err(|why| format!("{name}: {why}"))?,
            None => fits(schema["additionalProperties"] != false, &format!("without `{name}`"))?,
        }
    }
    Ok(())
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type: {other}"),
    }
}
