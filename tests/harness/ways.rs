//! The ways in which Basalt can execute a statement.
//!
//! A way is a set of session variables, and what is done to a statement's text. What a statement means must not depend on it.

use std::fmt;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The text as it stands; its plan comes from the plan cache, which takes the literals out.
    Text,
    /// With a comment in front, which the plan cache keeps away from.
    Uncached,
    /// PREPARE with the literals as parameters, EXECUTE with user variables.
    Named,
    /// The binary protocol, integers and strings as parameters.
    Binary,
    /// No statement on the short path.
    Query,
    /// No secondary index.
    NoIndex,
    /// A secondary index wherever there is one.
    Index,
    /// Tables in three regions.
    Split,
    /// Everything within one transaction that is never committed, but by DDL.
    Own,
    /// Optimistic transactions.
    Optimistic,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 10] = [
        Way::Text,
        Way::Uncached,
        Way::Named,
        Way::Binary,
        Way::Query,
        Way::NoIndex,
        Way::Index,
        Way::Split,
        Way::Own,
        Way::Optimistic,
    ];

    /// Its name, as SLT_WAYS and `skipif` know it.
    pub fn name(self) -> &'static str {
        match self {
            Way::Text => "text",
            Way::Uncached => "uncached",
            Way::Named => "named",
            Way::Binary => "binary",
            Way::Query => "query",
            Way::NoIndex => "noindex",
            Way::Index => "index",
            Way::Split => "split",
            Way::Own => "own",
            Way::Optimistic => "optimistic",
        }
    }

    /// What a session is told before the first statement.
    pub fn setup(self) -> &'static [&'static str] {
        match self {
            Way::Text | Way::Uncached | Way::Named | Way::Binary | Way::Split => &[],
            Way::Query => &["SET basalt_short_path = OFF"],
            Way::NoIndex => &["SET basalt_use_indexes = 'never'"],
            Way::Index => &["SET basalt_use_indexes = 'always'"],
            Way::Own => &["SET autocommit = 0"],
            Way::Optimistic => &["SET basalt_txn_mode = 'optimistic'"],
        }
    }

    /// Whether a file can be run in this way: a line `# ways: text named` in it names the only ones.
    pub fn suits(self, file: &str) -> bool {
        let only = file.lines().find_map(|line| line.strip_prefix("# ways:"));
        only.is_none_or(|names| names.split_whitespace().any(|name| name == self.name()))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
