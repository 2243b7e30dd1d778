//! A long list of constants that something is looked for in: `x IN (1, 2, 3, …)`.
//!
//! Made once, when the statement is bound; a probe costs a hash, or a binary search where equal values differ in form.
//!
//! ```text
//! x IN (3, 1.5, NULL, 3, 2)
//!   values   [2, 3 | 1.5]       integers, decimals, doubles … each kind sorted, each value once
//!   look-up  hash of integers · hash of weights (strings) · search in each kind
//! ```
//! Kinds stand apart because numbers of different kinds compare by conversion: within a kind the order is one, and a
//! needle of any kind meets it from one side, so that a search finds what a comparison one by one would.

use crate::func::compare;
use crate::types::{EvalType, FieldType};
use crate::value::Value;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::OnceLock;

/// Lists of fewer constants stay lists.
pub const SET_VALUES_MIN: usize = 128;

/// Constants without order and repetition. See the module.
#[derive(Debug)]
pub struct ValueSet {
    /// Without NULL, by kind and order.
    values: Vec<Value>,
    has_null: bool,
    lookup: Lookup,
    fingerprint: OnceLock<u64>,
}

#[derive(Debug)]
enum Lookup {
    Integers(HashSet<i64>),
    /// Weights of strings.
    Weights(HashSet<Box<[u8]>>),
    /// Where each kind stands among the values.
    Kinds(Vec<Range<usize>>),
}

impl PartialEq for ValueSet {
    fn eq(&self, other: &ValueSet) -> bool {
        self.has_null == other.has_null && self.values == other.values
    }
}

impl ValueSet {
    /// The set of some constants, to be looked in for values of type `ty`; `None` when `ty` does not compare with each of
    /// them in an order.
    pub fn new(ty: &FieldType, values: Vec<Value>) -> Option<ValueSet> {
        if !values.iter().all(|value| value.is_null() || meets(ty.eval_type(), value)) {
            return None;
        }
        let total = values.len();
        let mut values: Vec<Value> = values.into_iter().filter(|value| !value.is_null()).collect();
        let has_null = values.len() < total;
        if let Some(integers) = values.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>() {
            return Some(ValueSet::of_integers(integers, has_null));
        }
        if ty.eval_type() == EvalType::String {
            let weight = |value: &Value| Box::from(&*ty.collation.weight(value.as_bytes().unwrap_or_default()));
            let mut weights = HashSet::with_capacity(values.len());
            values.retain(|value| weights.insert(weight(value)));
            return Some(ValueSet { values, has_null, lookup: Lookup::Weights(weights), fingerprint: OnceLock::new() });
        }
        values.sort_by(|a, b| kind(a).cmp(&kind(b)).then_with(|| compare(a, b, ty)));
        values.dedup_by(|a, b| kind(a) == kind(b) && compare(a, b, ty).is_eq());
        let mut kinds = Vec::new();
        let mut start = 0;
        for run in values.chunk_by(|a, b| kind(a) == kind(b)) {
            kinds.push(start..start + run.len());
            start += run.len();
        }
        Some(ValueSet { values, has_null, lookup: Lookup::Kinds(kinds), fingerprint: OnceLock::new() })
    }

    fn of_integers(mut integers: Vec<i64>, has_null: bool) -> ValueSet {
        integers.sort_unstable();
        integers.dedup();
        let values = integers.iter().copied().map(Value::Int).collect();
        let lookup = Lookup::Integers(integers.into_iter().collect());
        ValueSet { values, has_null, lookup, fingerprint: OnceLock::new() }
    }

    /// The constants but for NULL, each once.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether NULL was among the constants: what is not found may then be in.
    pub fn has_null(&self) -> bool {
        self.has_null
    }

    /// A constant of each kind.
    pub fn examples(&self) -> impl Iterator<Item = &Value> {
        self.values.chunk_by(|a, b| kind(a) == kind(b)).filter_map(<[Value]>::first)
    }

    /// Whether a value of type `ty` that is not NULL is among the constants.
    pub fn contains(&self, value: &Value, ty: &FieldType) -> bool {
        match &self.lookup {
            Lookup::Integers(set) => match value {
                Value::Int(_) | Value::UInt(_) => value.as_i64().is_some_and(|value| set.contains(&value)),
                value => self.search(&(0..self.values.len()), value, ty),
            },
            Lookup::Weights(_) => value.as_bytes().is_some_and(|bytes| self.contains_bytes(bytes, ty)),
            Lookup::Kinds(kinds) => kinds.iter().any(|run| self.search(run, value, ty)),
        }
    }

    /// Whether a string of type `ty` is among the constants.
    pub fn contains_bytes(&self, bytes: &[u8], ty: &FieldType) -> bool {
        matches!(&self.lookup, Lookup::Weights(set) if set.contains(&*ty.collation.weight(bytes)))
    }

    fn search(&self, run: &Range<usize>, value: &Value, ty: &FieldType) -> bool {
        self.values[run.clone()].binary_search_by(|candidate| compare(candidate, value, ty)).is_ok()
    }

    /// A number that differs between sets that differ, for names.
    pub fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            let mut bytes = Vec::new();
            for value in &self.values {
                bytes.clear();
                crate::wire::encode_value(value, &mut bytes);
                hasher.write(&bytes);
            }
            hasher.write_u8(u8::from(self.has_null));
            hasher.finish()
        })
    }
}

/// Whether a needle of type `ty` and a constant compare in an order.
fn meets(ty: EvalType, value: &Value) -> bool {
    match ty {
        EvalType::Int | EvalType::Decimal | EvalType::Real => kind(value) <= DOUBLE,
        EvalType::String => kind(value) == STRING,
        EvalType::DateTime => matches!(value, Value::DateTime(_)),
        EvalType::Duration => matches!(value, Value::Time(_)),
        EvalType::Null => false,
    }
}

const DOUBLE: u8 = 2;
const STRING: u8 = 5;

fn kind(value: &Value) -> u8 {
    match value {
        Value::Int(_) | Value::UInt(_) => 0,
        Value::Decimal(_) => 1,
        Value::Double(_) => DOUBLE,
        Value::DateTime(_) => 3,
        Value::Time(_) => 4,
        Value::String(_) | Value::Bytes(_) => STRING,
        Value::Null => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;

    fn decimal(text: &str) -> Value {
        Value::Decimal(Decimal::parse(text.as_bytes()).expect("a decimal").0)
    }

    #[test]
    fn numbers_of_every_kind_are_found_as_a_comparison_finds_them() {
        let list = vec![
            Value::Int(7),
            Value::UInt(u64::MAX),
            decimal("2.50"),
            decimal("3.0"),
            Value::Double(0.25),
            Value::Double(-0.0),
            Value::Int(7),
            Value::Int(1 << 60),
        ];
        let ty = FieldType::bigint();
        let set = ValueSet::new(&ty, list.clone()).expect("numbers");
        assert_eq!(set.values().len(), 7);
        let needles = [
            Value::Int(7),
            Value::Int(3),
            Value::Int(0),
            Value::Int(2),
            Value::UInt(u64::MAX),
            Value::UInt(u64::MAX - 1),
            Value::Double(2.5),
            Value::Double((1u64 << 60) as f64),
            Value::Double(0.0),
            decimal("0.25"),
            decimal("0.26"),
            Value::Int((1 << 60) + 1),
        ];
        for needle in needles {
            let expected = list.iter().any(|item| compare(&needle, item, &ty).is_eq());
            assert_eq!(set.contains(&needle, &ty), expected, "{needle:?}");
        }
    }

    #[test]
    fn strings_are_found_by_weight() {
        let ty = FieldType::varchar(20);
        let set = ValueSet::new(&ty, vec![Value::from("Ann"), Value::Null, Value::from("ANN"), Value::from("bob")]);
        let set = set.expect("strings");
        assert!(set.has_null() && set.values().len() == 2);
        assert!(set.contains(&Value::from("ann"), &ty) && !set.contains(&Value::from("an"), &ty));
        assert!(ValueSet::new(&ty, vec![Value::Int(1)]).is_none());
    }
}
