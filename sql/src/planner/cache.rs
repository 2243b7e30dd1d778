//! Plans of statements that were run before, so that the next one of the same form is neither parsed, bound nor planned.
//!
//! The key is everything a plan depends on: schema version, sql_mode and the like, the current database, the statement's
//! text without its literals ([`super::digest`]), and the literals' types:
//!
//! ```text
//! ┌────────────────┬──────────────┬─────────────┬────┬────────────────────────────┬───┬───────┐
//! │ schema version │ environment  │ database    │ 00 │ SELECT c FROM t WHERE id=? │00 │ types │
//! │       8        │      32      │             │    │                            │   │       │
//! └────────────────┴──────────────┴─────────────┴────┴────────────────────────────┴───┴───────┘
//! ```
//! A text whose plan is not worth keeping (it goes to the query path, whose planning dwarfs the parser's) is remembered as
//! such, so that it is not tried again. A schema change makes old entries unreachable; they fall out at the end of the list.
//!
//! One cache serves all sessions: a few mutexes over small LRU lists, each held for one look-up.

use crate::planner::digest::{self, LexMode, Literal};
use crate::planner::physical::{PhysicalPlan, RowsPlan, ShortSource};
use basalt_expr::decimal::Decimal;
use basalt_expr::func::literal_type;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;

/// Plans kept, of all sessions together.
pub const PLANS_MAX: usize = 4096;
/// Lists that they are spread over, so that sessions seldom wait for each other.
const SHARDS: usize = 16;
/// Plans of one list.
const SHARD_PLANS_MAX: NonZeroUsize = NonZeroUsize::new(PLANS_MAX / SHARDS).expect("not zero");

/// sql_mode, connection collation and whatever else the binder asks a session for, packed.
pub type Environment = [u64; 4];

/// What of the session a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct CacheScope<'a> {
    /// Version of the schema.
    pub schema_version: u64,
    /// What else of the session.
    pub environment: Environment,
    /// The current database.
    pub database: &'a str,
    /// How sql_mode changes the lexer.
    pub mode: LexMode,
}

/// What the cache knows of a statement.
#[derive(Debug)]
pub enum Lookup {
    /// A plan, and the values of its parameters.
    Hit(PhysicalPlan, Vec<Value>),
    /// The form is new: bind and plan the template, and [`PlanCache::insert`] the result.
    Miss(Template),
    /// Take the ordinary way.
    Uncacheable,
}

/// A statement with `?` for its literals.
#[derive(Debug)]
pub struct Template {
    /// The text to parse.
    pub text: String,
    /// Values of the parameters in this execution.
    pub params: Vec<Value>,
    /// Their types, with which the plan is to be bound.
    pub types: Vec<FieldType>,
    key: Vec<u8>,
}

/// Plans by form. See the module.
pub struct PlanCache {
    shards: Vec<Mutex<LruCache<Vec<u8>, Entry>>>,
}

#[derive(Clone)]
enum Entry {
    Plan(PhysicalPlan),
    NotWorth,
}

impl Default for PlanCache {
    fn default() -> Self {
        PlanCache { shards: (0..SHARDS).map(|_| Mutex::new(LruCache::new(SHARD_PLANS_MAX))).collect() }
    }
}

impl PlanCache {
    /// Looks for the plan of a statement. `scratch` is the session's, kept from call to call.
    pub fn lookup(&self, scope: CacheScope<'_>, sql: &str, scratch: &mut Vec<u8>) -> Lookup {
        scratch.clear();
        scratch.extend_from_slice(&scope.schema_version.to_le_bytes());
        scope.environment.iter().for_each(|part| scratch.extend_from_slice(&part.to_le_bytes()));
        scratch.extend_from_slice(scope.database.as_bytes());
        scratch.push(0);
        let text_at = scratch.len();
        let mut types = Vec::new();
        let Some(lexed) = digest::lex(sql, scope.mode, scratch, &mut types) else { return Lookup::Uncacheable };
        let text_end = scratch.len();
        scratch.push(0);
        scratch.extend_from_slice(&types);
        let found = self.shard(scratch).lock().get(scratch.as_slice()).cloned();
        match found {
            Some(Entry::NotWorth) => Lookup::Uncacheable,
            Some(Entry::Plan(plan)) => match values(&lexed.params) {
                Some(params) => Lookup::Hit(plan, params),
                None => Lookup::Uncacheable,
            },
            None => {
                let text = std::str::from_utf8(&scratch[text_at..text_end]);
                let (Ok(text), Some(params)) = (text, values(&lexed.params)) else { return Lookup::Uncacheable };
                let types = params.iter().map(literal_type).collect();
                Lookup::Miss(Template { text: text.to_string(), params, types, key: scratch.clone() })
            }
        }
    }

    /// Keeps the plan of a template; `None` (or a plan that is not worth it) keeps it from being tried again. Returns
    /// whether the plan may be run with the template's parameters.
    pub fn insert(&self, template: &Template, plan: Option<&PhysicalPlan>) -> bool {
        let plan = plan.filter(|plan| is_worth(plan));
        let entry = plan.map_or(Entry::NotWorth, |plan| Entry::Plan(plan.clone()));
        self.shard(&template.key).lock().put(template.key.clone(), entry);
        plan.is_some()
    }

    /// Plans kept now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().len()).sum()
    }

    /// True when none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: &[u8]) -> &Mutex<LruCache<Vec<u8>, Entry>> {
        // FNV-1a over the end of the key, where statements differ.
        let tail = &key[key.len().saturating_sub(64)..];
        let hash = tail.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        &self.shards[(hash % SHARDS as u64) as usize]
    }
}

/// Short plans only: they read by key, so planning is most of their cost.
fn is_worth(plan: &PhysicalPlan) -> bool {
    let is_short = |rows: &RowsPlan| matches!(rows, RowsPlan::Short(_));
    match plan {
        PhysicalPlan::Short(short) => matches!(short.source, ShortSource::Table(_)),
        PhysicalPlan::Query(_) => false,
        PhysicalPlan::Insert(insert) => insert.source.is_none(),
        PhysicalPlan::Update(update) => is_short(&update.source),
        PhysicalPlan::Delete(delete) => is_short(&delete.source),
    }
}

fn values(literals: &[Literal<'_>]) -> Option<Vec<Value>> {
    let value = |literal: &Literal<'_>| {
        Some(match literal {
            Literal::Int(v) => Value::Int(*v),
            Literal::Double(v) => Value::Double(*v),
            Literal::String(text) => Value::from(text.as_ref()),
            Literal::Decimal(text) => {
                let (value, read) = Decimal::parse(text.as_bytes())?;
                if read != text.len() {
                    return None;
                }
                Value::Decimal(value)
            }
        })
    };
    literals.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::physical::ShortQuery;
    use std::sync::Arc;

    fn scope(version: u64) -> CacheScope<'static> {
        CacheScope { schema_version: version, environment: [0; 4], database: "test", mode: LexMode::default() }
    }

    #[test]
    fn forms_share_a_plan_until_the_schema_changes() {
        let (cache, mut scratch) = (PlanCache::default(), Vec::new());
        let Lookup::Miss(template) = cache.lookup(scope(1), "SELECT a FROM t WHERE b = 1.5", &mut scratch) else {
            panic!("not new");
        };
        assert_eq!(template.text, "SELECT a FROM t WHERE b = ?");
        let values = ShortSource::Values(Vec::new(), Vec::new());
        let short =
            ShortQuery { source: values, operators: vec![], output: vec![].into(), locking: None, fallback: None };
        assert!(!cache.insert(&template, Some(&PhysicalPlan::Short(Arc::new(short)))));
        let again = cache.lookup(scope(1), "SELECT  a FROM t WHERE b = 7.5", &mut scratch);
        assert!(matches!(again, Lookup::Uncacheable));
        let other_type = cache.lookup(scope(1), "SELECT a FROM t WHERE b = 7", &mut scratch);
        assert!(matches!(other_type, Lookup::Miss(_)));
        assert!(matches!(cache.lookup(scope(2), "SELECT a FROM t WHERE b = 1.5", &mut scratch), Lookup::Miss(_)));
        assert_eq!(cache.len(), 1);
    }
}
