//! The stamp of a data folder: what lies in it and which format it has, so that no version reads what it does not know.
//!
//! `DIR/basalt.stamp` is written before anything else is, and looked at at each start. A folder with files and without a
//! stamp is somebody else's.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// The format that this version writes, and the newest that it reads. It changes with anything in `docs/formats.md` that
/// an older version would misread.
pub const FORMAT: u32 = 1;
const NAME: &str = "basalt.stamp";
/// What an empty disk may hold, and what a start that ended early leaves.
const IGNORED: &[&str] = &["lost+found", "basalt.stamp.new", ".writable"];

/// What a folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// All of `basalt up`: folders of the other two kinds lie in it.
    Up,
    Pd,
    Storage,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Up => "basalt up",
            Kind::Pd => "a placement driver",
            Kind::Storage => "a storage node",
        }
    }
}

/// Unknown keys are a newer version's, which the format refuses with better words than the parser has.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    format: u32,
    kind: Kind,
    /// The version that made the folder.
    made_by: String,
}

/// Stamps an empty folder, or checks the stamp of one that is in use.
pub fn check(folder: &Path, kind: Kind) -> Result<()> {
    let path = folder.join(NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => compare(folder, kind, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            refuse_foreign(folder)?;
            write(folder, kind).with_context(|| format!("cannot write {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn compare(folder: &Path, kind: Kind, text: &str) -> Result<()> {
    let place = folder.display();
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        #[serde(default)]
        made_by: String,
    }
    let head: Head = toml::from_str(text).with_context(|| format!("{place}/{NAME} is damaged"))?;
    if head.format > FORMAT {
        bail!(
            "{place} has format {}, written by Basalt {}; this is Basalt {}, which reads formats up to {FORMAT}: use the newer version",
            head.format,
            head.made_by,
            env!("CARGO_PKG_VERSION")
        );
    }
    let stamp: Stamp = toml::from_str(text).with_context(|| format!("{place}/{NAME} is damaged"))?;
    if stamp.kind != kind {
        bail!("{place} holds the data of {}, not of {}", stamp.kind.name(), kind.name());
    }
    Ok(())
}

fn refuse_foreign(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        if !IGNORED.iter().any(|ignored| name == *ignored) {
            bail!(
                "{} is not empty and was not made by this kind of Basalt ({} lies in it, and no {NAME}): give an empty folder",
                folder.display(),
                name.display()
            );
        }
    }
    Ok(())
}

/// Whole or not at all, and on the disk before any data are.
fn write(folder: &Path, kind: Kind) -> Result<()> {
    let stamp = Stamp { format: FORMAT, kind, made_by: env!("BASALT_VERSION").to_owned() };
    let new = folder.join("basalt.stamp.new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(toml::to_string(&stamp)?.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, folder.join(NAME))?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_written_once_and_compared() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), Kind::Pd).unwrap();
        check(dir.path(), Kind::Pd).unwrap();
        let other = check(dir.path(), Kind::Storage).unwrap_err().to_string();
        assert!(other.contains("holds the data of a placement driver"), "{other}");
        let newer = "format = 2\nkind = \"moon\"\nmade_by = \"9.0\"\n";
        std::fs::write(dir.path().join(NAME), newer).unwrap();
        let error = check(dir.path(), Kind::Pd).unwrap_err().to_string();
        assert!(error.contains("format 2, written by Basalt 9.0"), "{error}");
        std::fs::write(dir.path().join(NAME), "x").unwrap();
        assert!(check(dir.path(), Kind::Pd).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_folder_with_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "").unwrap();
        let error = check(dir.path(), Kind::Up).unwrap_err().to_string();
        assert!(error.contains("thesis.tex"), "{error}");
        std::fs::remove_file(dir.path().join("thesis.tex")).unwrap();
        check(dir.path(), Kind::Up).unwrap();
    }
}
