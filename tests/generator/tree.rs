//! A statement as a tree that can be cut: what may be left out, what may stand for what.
//!
//! The generator writes text and says with it how the text may be made smaller; nobody else needs to know SQL's
//! grammar. A cut may give a statement that is wrong: then both servers refuse it, which is no difference, and
//! the cut is not kept.

use crate::types::Class;

/// See the module.
#[derive(Debug, Clone)]
pub enum Tree {
    /// As written.
    Text(String),
    /// One after the other.
    Seq(Vec<Tree>),
    /// An expression: an inner expression of its class, or a constant, may stand for it.
    Expr(Class, Vec<Tree>),
    /// A SELECT: an inner one may stand for it.
    Query(Vec<Tree>),
    /// A clause that may be left out.
    Optional(Box<Tree>),
    /// Items, of which at least so many must stay.
    List {
        /// The items.
        items: Vec<Tree>,
        /// What stands between two of them.
        separator: &'static str,
        /// How many must stay.
        least: usize,
    },
}

impl Tree {
    /// A text.
    pub fn text(text: impl Into<String>) -> Tree {
        Tree::Text(text.into())
    }

    /// A list separated by commas of which one must stay.
    pub fn commas(items: Vec<Tree>) -> Tree {
        Tree::List { items, separator: ", ", least: 1 }
    }

    /// A clause that may be left out.
    pub fn optional(parts: Vec<Tree>) -> Tree {
        Tree::Optional(Box::new(Tree::Seq(parts)))
    }

    /// `template` with its `?` filled in.
    pub fn filled(template: &str, parts: Vec<Tree>) -> Vec<Tree> {
        let mut out = Vec::new();
        let mut parts = parts.into_iter();
        for (at, text) in template.split('?').enumerate() {
            if at > 0 {
                out.push(parts.next().expect("a template has as many parts as gaps"));
            }
            out.push(Tree::text(text));
        }
        out
    }

    /// As SQL.
    pub fn sql(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Tree::Text(text) => out.push_str(text),
            Tree::Seq(parts) | Tree::Expr(_, parts) | Tree::Query(parts) => parts.iter().for_each(|p| p.write(out)),
            Tree::Optional(part) => part.write(out),
            Tree::List { items, separator, .. } => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(separator);
                    }
                    item.write(out);
                }
            }
        }
    }

    /// Every tree that is this one with one cut, the large cuts of a place before the small ones.
    pub fn cuts(&self) -> Vec<Tree> {
        let mut out = self.cuts_here();
        let children: &[Tree] = match self {
            Tree::Text(_) => &[],
            Tree::Seq(parts) | Tree::Expr(_, parts) | Tree::Query(parts) => parts,
            Tree::List { items, .. } => items,
            Tree::Optional(part) => std::slice::from_ref(part),
        };
        for (at, child) in children.iter().enumerate() {
            out.extend(child.cuts().into_iter().map(|cut| self.with_child(at, cut)));
        }
        out
    }

    fn with_child(&self, at: usize, child: Tree) -> Tree {
        let mut out = self.clone();
        match &mut out {
            Tree::Text(_) => {}
            Tree::Seq(parts) | Tree::Expr(_, parts) | Tree::Query(parts) => parts[at] = child,
            Tree::List { items, .. } => items[at] = child,
            Tree::Optional(part) => **part = child,
        }
        out
    }

    fn cuts_here(&self) -> Vec<Tree> {
        match self {
            Tree::Text(_) | Tree::Seq(_) => Vec::new(),
            Tree::Optional(_) => vec![Tree::text("")],
            Tree::Query(parts) => inner(parts, &|tree| matches!(tree, Tree::Query(_))),
            Tree::Expr(class, parts) => {
                let constant = class.constant();
                if self.sql() == constant || self.sql() == "NULL" {
                    return Vec::new();
                }
                let mut out = vec![Tree::Expr(*class, vec![Tree::text(constant)])];
                out.extend(inner(parts, &|tree| matches!(tree, Tree::Expr(of, _) if of == class)));
                out
            }
            Tree::List { items, separator, least } => {
                let mut out = Vec::new();
                let with = |items: Vec<Tree>| Tree::List { items, separator, least: *least };
                let half = items.len() / 2;
                if half >= *least && half > 1 {
                    out.push(with(items[..half].to_vec()));
                    out.push(with(items[half..].to_vec()));
                }
                if items.len() > *least {
                    for gone in 0..items.len() {
                        let mut rest = items.clone();
                        rest.remove(gone);
                        out.push(with(rest));
                    }
                }
                out
            }
        }
    }
}

/// The outermost trees below that are wanted.
fn inner(parts: &[Tree], wanted: &dyn Fn(&Tree) -> bool) -> Vec<Tree> {
    let mut out = Vec::new();
    for part in parts {
        if wanted(part) {
            out.push(part.clone());
            continue;
        }
        match part {
            Tree::Text(_) => {}
            Tree::Seq(parts) | Tree::Expr(_, parts) | Tree::Query(parts) => out.extend(inner(parts, wanted)),
            Tree::List { items, .. } => out.extend(inner(items, wanted)),
            Tree::Optional(part) => out.extend(inner(std::slice::from_ref(part), wanted)),
        }
    }
    out
}
