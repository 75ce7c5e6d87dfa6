//! Whether answers are what the OpenAPI document says: the status is there for the route, and the body has the
//! schema, with no field that it does not name.

use std::sync::LazyLock;

use serde_json::Value;

use crate::client::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&gateway_daemon::api::document()).unwrap());

/// Every route of the document: method and path.
pub(crate) fn routes() -> Vec<(String, String)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| -> Vec<(String, String)> {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (method.to_uppercase(), path.clone())).collect()
    };
    paths.iter().flat_map(of).collect()
}

/// Holds an answer against the document.
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap();
    let method = method.to_lowercase();
    let Some(operation) = operation(path).and_then(|item| item.get(&method)) else {
        assert!([404, 405].contains(&answer.status), "{method} {target}: {answer:?}");
        return is("Refusal", &answer.json());
    };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{method} {target} answers with what is not there: {answer:?}");
    let media = answer.headers["content-type"].to_str().unwrap();
    let content = response["content"].get(media);
    let content = content.unwrap_or_else(|| panic!("{method} {target}: {media}"));
    if media == "application/json" {
        valid(&content["schema"], &answer.json(), "");
    }
    let retries = answer.headers.contains_key("retry-after");
    assert_eq!(retries, [429, 503].contains(&answer.status), "{answer:?}");
}

/// Holds a value against a schema by its name.
pub(crate) fn is(schema: &str, value: &Value) {
    valid(&DOCUMENT["components"]["schemas"][schema], value, schema);
}

fn operation(path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let asked = parts(path);
    let found = paths.iter().find(|(template, _)| {
        let template = parts(template);
        let fits = |(template, part): (&String, &String)| {
            template == part || template.starts_with('{') && !part.is_empty()
        };
        template.len() == asked.len() && template.iter().zip(&asked).all(fits)
    });
    found.map(|(_, item)| item)
}

fn valid(schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/components/schemas/").unwrap();
        return is(name, value);
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let none = any.iter().any(|it| it["type"] == "null");
        assert!(value.is_null() <= none, "{at}: {value}");
        let Some(other) = any.iter().find(|it| it["type"] != "null" && !value.is_null()) else {
            return;
        };
        return valid(other, value, at);
    }
    let is_type = |word: &Value| match word.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: this test knows no type {other}"),
    };
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let fits = types.is_empty() || types.iter().any(is_type);
    assert!(fits, "{at}: {value} is none of {types:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    for item in value.as_array().into_iter().flatten() {
        valid(&schema["items"], item, at);
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{at}: {name} is missing: {value}");
    }
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => {
                assert!(schema["properties"].is_null(), "{at} is not in the document");
            }
            (Value::Null, other) => valid(other, field, &at),
            (known, _) => valid(known, field, &at),
        }
    }
}
