//! `[pages]`.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::names;
use super::report::Mismatch;
use super::section::Section;
use super::value::Value;
use crate::config::{ErrorPages, Pages};

/// Bytes of one page: it is kept in memory.
const MAX_PAGE: u64 = 64 << 10;

const FOLDER: &str =
    "a folder with pages such as 502.html and 50x.html in UTF-8, each 64 KiB at most";

pub(super) fn pages(s: &mut Section<'_>) -> Pages {
    Pages {
        error_pages: s.read("error_pages", ErrorPages::default(), error_pages),
        maintenance: s.flag("maintenance", false),
        maintenance_file: s.read("maintenance_file", None, |value| {
            let path = value.text("a path")?;
            Ok(Some(value.reading().path(path)))
        }),
        maintenance_allow: s.list("maintenance_allow", Vec::new(), names::network),
    }
}

fn error_pages(value: &Value<'_>) -> Result<ErrorPages, Mismatch> {
    let folder = value.reading().path(value.text(FOLDER)?);
    let unusable =
        |path: &Path, error| Mismatch::new(format!("{}: {error}", path.display()), FOLDER);
    let mut pages = Vec::new();
    for entry in folder
        .read_dir()
        .map_err(|error| unusable(&folder, error))?
    {
        let path = entry.map_err(|error| unusable(&folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let page = name.and_then(|name| name.strip_suffix(".html"));
        if let Some(page) = page.filter(|page| ErrorPages::is_page(page)) {
            let text = text(&path).map_err(|error| unusable(&path, error))?;
            pages.push((page.to_owned(), text));
        }
    }
    match pages.is_empty() {
        true => Err(Mismatch::new(
            format!("{}: no page", folder.display()),
            FOLDER,
        )),
        false => Ok(ErrorPages(Arc::new(pages.into_iter().collect()))),
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = file.take(MAX_PAGE + 1).read_to_string(&mut text)?;
    match read as u64 > MAX_PAGE {
        true => Err(std::io::ErrorKind::FileTooLarge.into()),
        false => Ok(text),
    }
}
