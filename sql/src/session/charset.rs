//! Character sets of a session: which there are to set, and statements on their way in.

use super::session::SqlSession;
use super::variables::SessionVariables;
use crate::error::{Error, Result};
use crate::server::charset::ResultCharset;
use basalt_expr::charset::Charset;
use basalt_expr::collation::Collation;
use std::borrow::Cow;
use std::sync::Arc;

/// What a character set's variable holds that was set to NULL. SHOW VARIABLES shows it.
pub(super) const NULL: &str = "";

/// Character sets whose characters have more than a byte each, ASCII included: no statement can be written in them.
const NO_CLIENTS: &[&str] = &["ucs2", "utf16", "utf16le", "utf32"];

/// A character set by its name or the number of one of its collations, as its variables hold it.
///
/// # Errors
/// 1115 for one that MySQL does not know either, 1235.
pub(super) fn check(name: &str) -> Result<Arc<str>> {
    let by_number = name.parse().ok().and_then(Collation::from_id);
    Ok(by_number.map_or_else(|| Collation::of_charset(name), Ok)?.charset().into())
}

/// A character set that clients write statements in.
///
/// # Errors
/// 1231 for those whose characters are not bytes, and as [`check`].
pub(super) fn check_client(name: &str) -> Result<Arc<str>> {
    let lower = name.to_ascii_lowercase();
    if NO_CLIENTS.contains(&lower.as_str()) {
        let message = format!("Variable 'character_set_client' can't be set to the value of '{lower}'");
        return Err(Error::User { code: 1231, sqlstate: "42000", message });
    }
    check(&lower)
}

/// A collation by its name or number.
///
/// # Errors
/// 1273.
pub(super) fn check_collation(name: &str) -> Result<Arc<str>> {
    let by_number = name.parse().ok().and_then(Collation::from_id);
    Ok(by_number.map_or_else(|| Collation::from_name(name), Ok)?.name().into())
}

/// The variable that a change of `name` to `value` changes too: a character set's collation, a collation's character set.
pub(super) fn companion(name: &str, value: &str) -> Option<(&'static str, Arc<str>)> {
    let collation = || Collation::of_charset(value).ok().map(|found| found.name().into());
    let charset = || Collation::from_name(value).ok().map(|found| found.charset().into());
    let (companion, value) = match name {
        "character_set_connection" => ("collation_connection", collation()),
        "character_set_database" => ("collation_database", collation()),
        "character_set_server" => ("collation_server", collation()),
        "collation_connection" => ("character_set_connection", charset()),
        "collation_database" => ("character_set_database", charset()),
        "collation_server" => ("character_set_server", charset()),
        _ => return None,
    };
    value.map(|value| (companion, value))
}

/// Bytes as messages show those that are no text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(3).map(|byte| format!("{byte:02X}")).collect()
}

impl SessionVariables {
    /// SET NAMES, and a client's greeting: client, connection and results at once.
    ///
    /// # Errors
    /// 1115 for an unknown character set, 1231 for one that no statement can be written in, 1273 and 1253 for the collation.
    pub fn set_names(&mut self, charset: &str, collation: Option<&str>) -> Result<()> {
        let charset = check_client(charset)?;
        let default = Collation::of_charset(&charset)?;
        let collation = collation.map_or(Ok(default), Collation::from_name)?;
        if collation.character_set() != default.character_set() {
            return Err(Error::collation_charset(collation.name(), &charset));
        }
        for name in ["character_set_client", "character_set_connection", "character_set_results"] {
            self.values.insert(name, charset.clone());
        }
        self.values.insert("collation_connection", collation.name().into());
        self.names_collation = Some(collation);
        self.retype();
        Ok(())
    }

    /// SET CHARACTER SET: client and results; the connection takes the database's.
    ///
    /// # Errors
    /// As [`SessionVariables::set_names`].
    pub fn set_character_set(&mut self, charset: &str, database: Collation) -> Result<()> {
        let charset = check_client(charset)?;
        for name in ["character_set_client", "character_set_results"] {
            self.values.insert(name, charset.clone());
        }
        self.values.insert("character_set_connection", database.charset().into());
        self.values.insert("collation_connection", database.name().into());
        self.names_collation = None;
        self.retype();
        Ok(())
    }

    /// USE: the variables that tell the current database's character set.
    pub fn follow_database(&mut self, collation: Collation) {
        self.values.insert("character_set_database", collation.charset().into());
        self.values.insert("collation_database", collation.name().into());
    }

    /// SET character_set_results = NULL: text is sent in its own character set.
    pub fn set_results_null(&mut self) {
        self.values.insert("character_set_results", NULL.into());
        self.retype();
    }

    /// A collation that SET NAMES or the client's greeting named says which of its character set's is meant.
    pub(super) fn result_charset(&self, charset: &str) -> ResultCharset {
        let named = self.names_collation.filter(|collation| collation.charset() == charset);
        ResultCharset(named.or_else(|| Collation::of_charset(charset).ok()))
    }
}

impl SqlSession {
    /// A statement's text in UTF-8. What is not UTF-8 in the text of a client that writes UTF-8 stays: it may stand in
    /// literals that are bytes.
    ///
    /// # Errors
    /// 1300 for bytes that are none of the client's characters.
    pub(super) fn decoded_text<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        let client = self.variables.typed().client;
        if text.is_ascii() || !matches!(client, Charset::Latin1 | Charset::Ascii) {
            return Ok(Cow::Borrowed(text));
        }
        match client.decode(text) {
            Ok(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
            Ok(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
            Err(at) => {
                let wrong = text[at..].split(u8::is_ascii).next().unwrap_or_default();
                Err(Error::invalid_string(client.name(), hex(wrong)))
            }
        }
    }

    /// True when literals lose nothing on their way from the client's character set to the connection's.
    pub(super) fn literals_stay(&self) -> bool {
        let typed = self.variables.typed();
        let connection = typed.collation.character_set();
        connection != Charset::Binary && typed.client != Charset::Binary && connection.holds(typed.client)
    }

    /// The collation of the current database.
    pub(super) fn database_collation(&self) -> Collation {
        let database = self.database.as_deref().unwrap_or_default();
        let schema = self.server.catalog.schema().ok();
        let found = schema.and_then(|schema| Collation::from_name(&schema.database(database)?.collation).ok());
        found.unwrap_or(Collation::DEFAULT)
    }

    /// MySQL's warning about a name of utf8mb3.
    pub(super) fn warn_of_utf8mb3(&mut self, charset: &str) {
        let (code, message) = match charset.to_ascii_lowercase().as_str() {
            "utf8" => (
                3719,
                "'utf8' is currently an alias for the character set UTF8MB3, but will be an alias for UTF8MB4 in a future \
                 release. Please consider using UTF8MB4 in order to be unambiguous.",
            ),
            "utf8mb3" => {
                (1287, "'utf8mb3' is deprecated and will be removed in a future release. Please use utf8mb4 instead")
            }
            _ => return,
        };
        self.warn(code, message);
    }

    /// Takes over the character set that the client announced, which may be one whose comparisons are not known.
    pub(super) fn take_announced(&mut self, number: u16) {
        if let Some(collation) = Collation::from_id(number.into()) {
            // Every character set of ours is one that statements can be written in.
            let _ = self.variables.set_names(collation.charset(), Some(collation.name()));
        }
        self.connection.variables.set_results(self.variables.typed().results);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_sets_go_by_name_and_number() {
        assert_eq!(&*check("UTF8").unwrap(), "utf8mb3");
        assert_eq!(&*check("47").unwrap(), "latin1");
        assert_eq!(&*check_collation("47").unwrap(), "latin1_bin");
        for (name, code) in [("klingon", 1115), ("cp1251", 1235), ("9999", 1115)] {
            assert_eq!(check(name).unwrap_err().to_mysql().0, code, "{name}");
        }
        assert_eq!(check_client("ucs2").unwrap_err().to_mysql().0, 1231);
    }
}
