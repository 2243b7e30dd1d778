//! GROUP_CONCAT within `group_concat_max_len` bytes, whatever a group holds.
//!
//! DataFusion's `string_agg` keeps all strings, and is distinct by bytes. Here a group keeps only the strings that can be in
//! its result: those that are first in order and together long enough. Columns that the function takes:
//!
//! ```text
//! the row's string, NULL when the row has none │ what DISTINCT compares │ ORDER BY
//! ```
//! Both are keys as everywhere (strings by weight). Without ORDER BY the order is that of the rows, or with DISTINCT that
//! of what is compared; rows that ORDER BY does not tell apart stand last one first. All that is MySQL's. Of rows that
//! DISTINCT does not tell apart the first one is taken, whatever ORDER BY says; only to know them must all keys of a group
//! be kept, and that is counted as the query's memory.

use crate::error::Result;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use basalt_common::codec::{CodecError, decode_varint, encode_varint};
use basalt_common::memory::heap;
use basalt_expr::aggregate::GROUP_CONCAT_BYTES_MAX;
use basalt_expr::error::EvalError;
use basalt_expr::{EvalContext, FieldType};
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of a call before its rows.
#[derive(Debug)]
pub struct Spec {
    /// SEPARATOR.
    pub separator: String,
    /// Columns that DISTINCT compares; none without it.
    pub distinct: usize,
    /// Directions of ORDER BY's columns: whether they descend.
    pub descending: Vec<bool>,
    /// Type of the result.
    pub ty: FieldType,
    /// The statement.
    pub context: Arc<EvalContext>,
    /// Rows that were written into results so far, for warnings.
    pub rows: AtomicU64,
}

/// Its name in plans.
pub const NAME: &str = "group_concat";

/// See the module.
#[derive(Debug, Clone)]
pub struct GroupConcat {
    spec: Arc<Spec>,
    signature: Signature,
}

impl GroupConcat {
    /// The function of a call.
    pub fn new(spec: Spec) -> Self {
        GroupConcat { spec: Arc::new(spec), signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl PartialEq for GroupConcat {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spec, &other.spec)
    }
}
impl Eq for GroupConcat {}
impl Hash for GroupConcat {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.spec).hash(state);
    }
}

impl AggregateUDFImpl for GroupConcat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.spec.ty.arrow_type())
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let bytes_max = self.spec.context.session.group_concat_bytes_max;
        let bytes_max = bytes_max.map_or(GROUP_CONCAT_BYTES_MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        Ok(Box::new(Group {
            spec: self.spec.clone(),
            bytes_max,
            rows: BTreeMap::new(),
            bytes: 0,
            arrived: 0,
            is_cut: false,
            seen: HashSet::new(),
            seen_bytes: 0,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[rows]", args.name), DataType::Binary, true))])
    }
}

/// The strings of one group that its result may hold.
#[derive(Debug)]
struct Group {
    spec: Arc<Spec>,
    bytes_max: usize,
    /// By place in the result: order, then arrival (counted down where there is an ORDER BY).
    rows: BTreeMap<(Box<[u8]>, u64), Row>,
    /// Length of the result that `rows` make.
    bytes: usize,
    arrived: u64,
    /// Rows were left out.
    is_cut: bool,
    /// Keys of all rows so far, where DISTINCT needs them.
    seen: HashSet<Box<[u8]>>,
    seen_bytes: usize,
}

#[derive(Debug)]
struct Row {
    /// As long as it can be in the result, and a byte more where it is longer.
    text: Box<[u8]>,
    /// What DISTINCT compares; empty without it.
    key: Box<[u8]>,
}

impl Group {
    fn add(&mut self, order: &[u8], key: &[u8], text: &[u8]) {
        let distinct = self.spec.distinct > 0;
        if distinct {
            if self.seen.contains(key) {
                return;
            }
            self.seen_bytes += key.len();
            self.seen.insert(key.into());
        }
        let is_full = self.bytes > self.bytes_max;
        if is_full
            && self.rows.last_key_value().is_some_and(|((last, _), _)| match self.spec.descending.is_empty() {
                true => last.as_ref() <= order,
                false => last.as_ref() < order,
            })
        {
            self.is_cut = true;
            return;
        }
        let text = &text[..text.len().min(self.bytes_max.saturating_add(1))];
        let separator = if self.rows.is_empty() { 0 } else { self.spec.separator.len() };
        // A row that adds nothing need not be kept next to others.
        if separator + text.len() == 0 && !self.rows.is_empty() {
            return;
        }
        self.bytes += separator + text.len();
        let row = Row { text: text.into(), key: if distinct { key.into() } else { Box::default() } };
        let place = if self.spec.descending.is_empty() { self.arrived } else { u64::MAX - self.arrived };
        self.rows.insert((order.into(), place), row);
        self.arrived += 1;
        self.forget_last();
    }

    /// Drops rows from the end while those before them fill the result.
    fn forget_last(&mut self) {
        while self.bytes > self.bytes_max && self.rows.len() > 1 {
            let Some(last) = self.rows.last_entry() else { return };
            let shorter = self.bytes - last.get().text.len() - self.spec.separator.len();
            if shorter <= self.bytes_max {
                return;
            }
            last.remove();
            self.bytes = shorter;
            self.is_cut = true;
        }
    }

    /// The result; what it is made of goes on the way.
    fn finish(&mut self) -> Result<ScalarValue> {
        let is_binary = self.spec.ty.is_binary_string();
        let found = !self.rows.is_empty();
        let rows = std::mem::take(&mut self.rows);
        let mut out = room(self.bytes.min(self.bytes_max.saturating_add(1)))?;
        let mut cut_at = None;
        for (position, row) in rows.into_values().enumerate() {
            let number = self.spec.rows.fetch_add(1, Ordering::Relaxed) + 1;
            if position > 0 {
                out.extend_from_slice(self.spec.separator.as_bytes());
            }
            out.extend_from_slice(&row.text);
            if out.len() > self.bytes_max {
                cut_at = Some(number);
                break;
            }
        }
        if let Some(row) = cut_at {
            let mut end = self.bytes_max;
            while !is_binary && end > 0 && out[end] & 0xc0 == 0x80 {
                end -= 1;
            }
            out.truncate(end);
            self.spec.context.soften(EvalError::CutByGroupConcat(row))?;
        }
        Ok(match (is_binary, found) {
            (true, found) => ScalarValue::Binary(found.then_some(out)),
            (false, found) => ScalarValue::Utf8(found.then(|| text(out))),
        })
    }

    fn merge(&mut self, mut state: &[u8]) -> std::result::Result<(), CodecError> {
        let input = &mut state;
        let is_cut = decode_varint(input)? != 0;
        for _ in 0..decode_varint(input)? {
            let mut parts: [&[u8]; 3] = [&[]; 3];
            for part in &mut parts {
                let len = usize::try_from(decode_varint(input)?).map_err(|_| CodecError::Truncated)?;
                let (bytes, rest) = input.split_at_checked(len).ok_or(CodecError::Truncated)?;
                (*part, *input) = (bytes, rest);
            }
            self.add(parts[0], parts[1], parts[2]);
        }
        self.is_cut |= is_cut;
        Ok(())
    }
}

/// Room for a result of so many bytes, unless the statement may not have it.
fn room(bytes: usize) -> Result<Vec<u8>> {
    heap::check_growth(bytes)?;
    Ok(Vec::with_capacity(bytes))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Rows of key columns as bytes that compare as they do.
fn keys(columns: &[ArrayRef], descending: &[bool]) -> DfResult<Option<BinaryArray>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let field = |(at, column): (usize, &ArrayRef)| {
        let descending = descending.get(at).copied().unwrap_or(false);
        let options = SortOptions { descending, nulls_first: !descending };
        SortField::new_with_options(column.data_type().clone(), options)
    };
    let converter = RowConverter::new(columns.iter().enumerate().map(field).collect())?;
    Ok(Some(converter.convert_columns(columns)?.try_into_binary()?))
}

impl Accumulator for Group {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some((texts, rest)) = values.split_first() else { return Ok(()) };
        let (distinct, order) = rest.split_at(self.spec.distinct.min(rest.len()));
        let spec = self.spec.clone();
        let distinct = keys(distinct, &[])?;
        let order = keys(order, &spec.descending)?;
        for row in 0..texts.len() {
            if texts.is_null(row) {
                continue;
            }
            let text = match texts.data_type() {
                DataType::Utf8 => texts.as_string::<i32>().value(row).as_bytes(),
                _ => texts.as_binary::<i32>().value(row),
            };
            let key = distinct.as_ref().map_or(&[][..], |keys| keys.value(row));
            let order = order.as_ref().map_or(key, |keys| keys.value(row));
            self.add(order, key, text);
        }
        Ok(heap::check_growth(0).map_err(crate::error::Error::from)?)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.finish()?)
    }

    fn size(&self) -> usize {
        let row = size_of::<((Box<[u8]>, u64), Row)>();
        let keys = self.rows.iter().map(|((order, _), row)| order.len() + row.key.len()).sum::<usize>();
        size_of_val(self) + self.bytes + keys + self.rows.len() * row + self.seen_bytes + self.seen.len() * 24
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let rows = std::mem::take(&mut self.rows);
        let mut out = room(self.bytes)?;
        encode_varint(&mut out, u64::from(self.is_cut));
        encode_varint(&mut out, rows.len() as u64);
        let mut write = |((order, _), row): ((Box<[u8]>, u64), Row)| {
            for part in [&order, &row.key, &row.text] {
                encode_varint(&mut out, part.len() as u64);
                out.extend_from_slice(part);
            }
        };
        // As they arrived, as far as that matters.
        match self.spec.descending.is_empty() {
            true => rows.into_iter().for_each(&mut write),
            false => rows.into_iter().rev().for_each(&mut write),
        }
        Ok(vec![ScalarValue::Binary(Some(out))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let Some(states) = states.first() else { return Ok(()) };
        for state in states.as_binary::<i32>().iter().flatten() {
            self.merge(state).map_err(|error| DataFusionError::Internal(format!("state of GROUP_CONCAT: {error}")))?;
        }
        Ok(())
    }
}
