//! Secrets: as they are, from the environment, or from a file. None is ever shown.

use std::path::Path;

use super::outside;
use super::reading::Reading;
use super::report::{Mismatch, expected};
use super::section::Section;
use super::value::{SecretPlace, Value, quoted};
use crate::config::Secret;
use crate::history::redis::address::Address as RedisAddress;

/// What SHA-256 makes full use of.
const SHORTEST: usize = 32;

/// Less than 128 bits.
const SHORTEST_OF_SITE: usize = 16;

const FORM: &str = "a secret, \"env:NAME\" or \"file:PATH\"";

/// One secret, of any length but none.
pub(super) fn secret(section: &mut Section<'_>, key: &'static str) -> Option<Secret> {
    let value = section.value(key)?.into_secret();
    value.checked(secret_of)
}

/// The key of what the site signed itself, so of the length that the site chose.
pub(super) fn site_key(section: &mut Section<'_>, key: &'static str) -> Option<Secret> {
    section.must_have(key, FORM);
    let value = section.value(key)?.into_secret();
    let secret = value.checked(secret_of)?;
    let length = secret.0.len();
    if length < SHORTEST_OF_SITE {
        value.warn(format!(
            "a key of {length} bytes may be guessed, and with it every guest's cookie be written"
        ));
    }
    Some(secret)
}

/// A list of secrets, each long enough to sign with.
pub(super) fn secrets(section: &mut Section<'_>, key: &'static str) -> Vec<Secret> {
    let Some(list) = section.value(key).map(Value::into_secret) else {
        return Vec::new();
    };
    let form = "a list of secrets, such as [\"env:PULLGATE_SECRET\"]";
    let items = list.checked(|list| match list.items() {
        Ok(items) if items.is_empty() => Err(Mismatch::new(
            "an empty list",
            format!("{form}; without the key one is generated"),
        )),
        Ok(items) => Ok(items),
        Err(_) => Err(expected(form)),
    });
    let items = items.into_iter().flatten().map(Value::into_secret);
    items
        .filter_map(|item| item.checked(strong_secret))
        .collect()
}

/// Where Redis is, with its password.
pub(super) fn redis_url(section: &mut Section<'_>, key: &'static str) -> Option<RedisAddress> {
    let form = "an address such as \"redis://127.0.0.1:6379\"";
    section.value(key)?.checked(|value| {
        let text = match value.secret_place() {
            Some(_) => secret_of(value)?.0,
            None => value.text(form)?.to_owned(),
        };
        RedisAddress::parse(&text).map_err(|_| match value.secret_place() {
            Some(_) => Mismatch::new("what is no address of Redis", form),
            None => expected(form),
        })
    })
}

fn strong_secret(value: &Value<'_>) -> Result<Secret, Mismatch> {
    let secret = secret_of(value)?;
    let length = secret.0.len();
    if length < SHORTEST {
        return Err(Mismatch::new(
            format!("a secret of {length} bytes"),
            format!("at least {SHORTEST}, such as from \"openssl rand -hex 32\""),
        ));
    }
    Ok(secret)
}

fn secret_of(value: &Value<'_>) -> Result<Secret, Mismatch> {
    let text = match value.secret_place() {
        Some(SecretPlace::Variable(name)) => variable(value.reading(), name)?,
        Some(SecretPlace::File(name, path)) => {
            outside::secret_file(value, &path);
            contents(name, &path)?
        }
        None => {
            let text = value.node.as_str().ok_or_else(|| expected(FORM))?;
            text.to_owned()
        }
    };
    if text.is_empty() {
        return Err(Mismatch::new("an empty secret", "one or more characters"));
    }
    Ok(Secret(text))
}

fn variable(reading: &Reading<'_>, name: &str) -> Result<String, Mismatch> {
    let found = reading.variable(name);
    let text = found.ok_or_else(|| {
        Mismatch::new(
            quoted(&format!("env:{name}")),
            "a variable that is set in the environment",
        )
    })?;
    text.into_string().map_err(|_| {
        Mismatch::new(
            format!("{}: not UTF-8", quoted(&format!("env:{name}"))),
            "a variable with a text",
        )
    })
}

/// Editors and `echo` end a file with a newline that nobody means.
fn contents(name: &str, path: &Path) -> Result<String, Mismatch> {
    let mut text = std::fs::read_to_string(path).map_err(|error| {
        let found = quoted(&format!("file:{name}"));
        Mismatch::new(
            format!("{found}: {error}"),
            format!("a file to read at {}", path.display()),
        )
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
