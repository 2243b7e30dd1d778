//! Reading rows and index entries into Arrow: the coprocessor's inner loop.
//!
//! Two things make it fast: nothing but the wanted columns is touched, and rows of one table look alike, so the place of a
//! column within the previous row's list of ids is tried first.

use super::{FLAG_WIDE, HEADER, VERSION};
use crate::convert::ColumnBuilder;
use crate::error::{EvalError, ExprError};
use crate::key;
use crate::types::FieldType;
use crate::value::Value;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use basalt_common::codec::{self, CodecError};
use std::sync::Arc;

/// A column to decode.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanColumn {
    /// Its id in the table.
    pub id: u32,
    /// Its type.
    pub ty: FieldType,
    /// Its value in rows written before it existed ([`super::encode_stored_value`]); `None` is NULL.
    pub default: Option<Vec<u8>>,
    /// It is the row's integer handle (or the hidden row id) and stands in the key.
    pub is_handle: bool,
}

impl ScanColumn {
    /// A column that every row has.
    pub fn new(id: u32, ty: FieldType) -> ScanColumn {
        ScanColumn { id, ty, default: None, is_handle: false }
    }
    /// From the coprocessor's message.
    ///
    /// # Errors
    /// [`ExprError`] for types that this version does not know.
    pub fn from_proto(proto: &basalt_proto::coprocessor::ScanColumn) -> Result<ScanColumn, ExprError> {
        let ty = proto.r#type.as_ref().ok_or_else(|| ExprError::Unsupported("a column without a type".into()))?;
        Ok(ScanColumn {
            id: proto.column_id,
            ty: FieldType::from_proto(ty)?,
            default: proto.has_default.then(|| proto.default_value.to_vec()),
            is_handle: proto.is_handle,
        })
    }
    /// As the coprocessor's message.
    pub fn to_proto(&self) -> basalt_proto::coprocessor::ScanColumn {
        basalt_proto::coprocessor::ScanColumn {
            column_id: self.id,
            r#type: Some(self.ty.to_proto()),
            default_value: self.default.clone().unwrap_or_default().into(),
            has_default: self.default.is_some(),
            is_handle: self.is_handle,
        }
    }
}

/// The lists of a row, without its values taken apart.
struct RowParts<'a> {
    wide: bool,
    ids: &'a [u8],
    null_ids: &'a [u8],
    ends: &'a [u8],
    values: &'a [u8],
}

impl<'a> RowParts<'a> {
    fn split(row: &'a [u8]) -> Result<RowParts<'a>, CodecError> {
        let (header, rest) = row.split_first_chunk::<HEADER>().ok_or(CodecError::Truncated)?;
        if header[0] != VERSION || header[1] & !FLAG_WIDE != 0 {
            return Err(CodecError::Malformed("row version"));
        }
        let wide = header[1] & FLAG_WIDE != 0;
        let values = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let nulls = usize::from(u16::from_le_bytes([header[4], header[5]]));
        let (id_size, end_size) = if wide { (4, 4) } else { (1, 2) };
        let (ids, rest) = rest.split_at_checked(values * id_size).ok_or(CodecError::Truncated)?;
        let (null_ids, rest) = rest.split_at_checked(nulls * id_size).ok_or(CodecError::Truncated)?;
        let (ends, values) = rest.split_at_checked(values * end_size).ok_or(CodecError::Truncated)?;
        Ok(RowParts { wide, ids, null_ids, ends, values })
    }

    /// Where `id` stands in the list of values; `hint` is where it stood last time.
    fn position(&self, id: u32, hint: &mut usize) -> Option<usize> {
        if !self.wide {
            let id = u8::try_from(id).ok()?;
            if self.ids.get(*hint) != Some(&id) {
                *hint = self.ids.iter().position(|&b| b == id)?;
            }
            return Some(*hint);
        }
        let found = self.ids.chunks_exact(4).position(|c| c == id.to_le_bytes())?;
        *hint = found;
        Some(found)
    }

    fn is_null(&self, id: u32) -> bool {
        match u8::try_from(id) {
            Ok(id) if !self.wide => self.null_ids.contains(&id),
            _ => self.wide && self.null_ids.chunks_exact(4).any(|c| c == id.to_le_bytes()),
        }
    }

    fn end(&self, position: usize) -> Option<usize> {
        if self.wide {
            let bytes = self.ends.get(position * 4..position * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
        } else {
            let bytes = self.ends.get(position * 2..position * 2 + 2)?;
            Some(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
        }
    }

    fn value(&self, position: usize) -> Result<&'a [u8], CodecError> {
        let start = if position == 0 { Some(0) } else { self.end(position - 1) };
        match (start, self.end(position)) {
            (Some(start), Some(end)) => self.values.get(start..end).ok_or(CodecError::Truncated),
            _ => Err(CodecError::Truncated),
        }
    }
}

/// The columns that a decoder reads, in the order of its batches, and the schema of these. Cheap to clone; a plan makes it once,
/// as a schema costs more than decoding a row.
#[derive(Clone, Debug)]
pub struct ScanLayout {
    columns: Arc<[ScanColumn]>,
    schema: SchemaRef,
}

impl ScanLayout {
    /// The columns.
    pub fn columns(&self) -> &[ScanColumn] {
        &self.columns
    }

    /// The batches' schema: fields named `c{id}` with their MySQL types in the metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl From<Vec<ScanColumn>> for ScanLayout {
    fn from(columns: Vec<ScanColumn>) -> ScanLayout {
        // A column that reads as NULL for old rows is nullable whatever its type says.
        let field = |c: &ScanColumn| c.ty.arrow_field(&format!("c{}", c.id)).with_nullable(true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        ScanLayout { columns: columns.into(), schema }
    }
}

struct Target {
    builder: ColumnBuilder,
    hint: usize,
}

impl Target {
    fn append(&mut self, column: &ScanColumn, row: &RowParts<'_>) -> Result<(), EvalError> {
        match row.position(column.id, &mut self.hint) {
            Some(position) => self.builder.append_stored(row.value(position)?)?,
            None if row.is_null(column.id) => self.builder.append_null(),
            None => match &column.default {
                Some(default) => self.builder.append_stored(default)?,
                None => self.builder.append_null(),
            },
        }
        Ok(())
    }
}

/// Decodes rows of a table, a batch at a time.
pub struct RowDecoder {
    layout: ScanLayout,
    /// One a column.
    targets: Vec<Target>,
    rows: usize,
}

impl RowDecoder {
    /// A decoder; `capacity` is the number of rows to make room for.
    pub fn new(layout: impl Into<ScanLayout>, capacity: usize) -> RowDecoder {
        let layout = layout.into();
        let target = |column: &ScanColumn| Target { builder: ColumnBuilder::new(&column.ty, capacity), hint: 0 };
        RowDecoder { targets: layout.columns.iter().map(target).collect(), layout, rows: 0 }
    }
    /// The batches' schema.
    pub fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }
    /// Appends a row. `handle` is what follows `t{table}_r` in its key.
    ///
    /// # Errors
    /// [`EvalError::Corrupt`] for damaged bytes; the decoder is not to be used further.
    pub fn append(&mut self, handle: &[u8], value: &[u8]) -> Result<(), EvalError> {
        let row = RowParts::split(value)?;
        for (target, column) in self.targets.iter_mut().zip(&*self.layout.columns) {
            if column.is_handle {
                let handle = codec::decode_i64(&mut &handle[..])?;
                target.builder.append_handle(handle);
            } else {
                target.append(column, &row)?;
            }
        }
        self.rows += 1;
        Ok(())
    }
    /// Rows since the last [`RowDecoder::finish`].
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Bytes that they take, roughly.
    pub fn bytes(&self) -> usize {
        self.targets.iter().map(|t| t.builder.bytes()).sum()
    }
    /// The rows so far as a batch; the decoder starts anew.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when the columns do not fit together.
    pub fn finish(&mut self) -> Result<RecordBatch, EvalError> {
        let rows = std::mem::take(&mut self.rows);
        finish_batch(self.targets.iter_mut().map(|t| &mut t.builder), &self.layout.schema, rows)
    }
}

fn finish_batch<'a>(
    builders: impl Iterator<Item = &'a mut ColumnBuilder>,
    schema: &SchemaRef,
    rows: usize,
) -> Result<RecordBatch, EvalError> {
    let arrays = builders.map(ColumnBuilder::finish).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
}

/// Where an index scan finds an output column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IndexSource {
    /// Position among the index's columns.
    Part(usize),
    /// The integer handle.
    IntegerHandle,
    /// Position among the columns of a common handle.
    HandlePart(usize),
}

/// Decodes entries of an index: its own columns and the row's handle.
pub struct IndexDecoder {
    sources: Vec<IndexSource>,
    parts: Vec<FieldType>,
    handle_parts: Vec<FieldType>,
    scan: ScanLayout,
    builders: Vec<ColumnBuilder>,
    integer_handle: bool,
    rows: usize,
}

/// The shape of an index, as an [`IndexDecoder`] needs it.
#[derive(Clone, Debug, Default)]
pub struct IndexLayout {
    /// Column ids and types of the index's columns, in order.
    pub columns: Vec<(u32, FieldType)>,
    /// Column ids and types of the clustered key, when handles are not integers.
    pub handle_columns: Vec<(u32, FieldType)>,
    /// Handles are integers.
    pub integer_handle: bool,
}

impl IndexDecoder {
    /// A decoder of columns, each of which is one of the index's, the integer handle, or of the clustered key.
    ///
    /// # Errors
    /// [`EvalError::Internal`] for a column that is none of these.
    pub fn new(layout: IndexLayout, scan: impl Into<ScanLayout>, capacity: usize) -> Result<IndexDecoder, EvalError> {
        let scan = scan.into();
        let find = |column: &ScanColumn| {
            let at = |list: &[(u32, FieldType)]| list.iter().position(|(id, _)| *id == column.id);
            if column.is_handle && layout.integer_handle {
                return Ok(IndexSource::IntegerHandle);
            }
            let part = at(&layout.columns).map(IndexSource::Part);
            part.or_else(|| at(&layout.handle_columns).map(IndexSource::HandlePart))
                .ok_or_else(|| EvalError::Internal(format!("column {} is not in the index", column.id)))
        };
        let sources = scan.columns.iter().map(find).collect::<Result<_, _>>()?;
        Ok(IndexDecoder {
            sources,
            builders: scan.columns.iter().map(|c| ColumnBuilder::new(&c.ty, capacity)).collect(),
            parts: layout.columns.into_iter().map(|c| c.1).collect(),
            handle_parts: layout.handle_columns.into_iter().map(|c| c.1).collect(),
            integer_handle: layout.integer_handle,
            scan,
            rows: 0,
        })
    }
    /// The batches' schema.
    pub fn schema(&self) -> SchemaRef {
        self.scan.schema.clone()
    }
    /// Appends an entry. `values` is what follows `t{table}_i{index}` in its key.
    ///
    /// # Errors
    /// [`EvalError::Corrupt`] for damaged bytes.
    pub fn append(&mut self, mut values: &[u8], value: &[u8]) -> Result<(), EvalError> {
        let entry = key::split_index_value(value)?;
        let restored = entry.restored.map(RowParts::split).transpose()?;
        let mut decoded: Vec<Value> = Vec::with_capacity(self.parts.len());
        for (position, ty) in self.parts.iter().enumerate() {
            let restored = restored.as_ref().and_then(|row| Some(row.value(row.position(position as u32, &mut 0)?)));
            let Some(bytes) = restored.transpose()? else {
                decoded.push(key::decode_value(&mut values, ty)?);
                continue;
            };
            // The weight in the key is not text of any kind.
            values = &values[key::skip_value(values)?..];
            decoded.push(if ty.is_binary_string() {
                Value::from(bytes.to_vec())
            } else {
                Value::from(std::str::from_utf8(bytes).map_err(|_| CodecError::Malformed("text"))?)
            });
        }
        let mut handle = entry.handle.unwrap_or(values);
        let mut handle_values = Vec::new();
        if !self.integer_handle {
            for ty in &self.handle_parts {
                handle_values.push(key::decode_value(&mut handle, ty)?);
            }
        }
        for (index, source) in self.sources.iter().enumerate() {
            let builder = &mut self.builders[index];
            match source {
                IndexSource::Part(at) => builder.append(&decoded[*at])?,
                IndexSource::HandlePart(at) => builder.append(&handle_values[*at])?,
                IndexSource::IntegerHandle => builder.append_handle(codec::decode_i64(&mut &handle[..])?),
            }
        }
        self.rows += 1;
        Ok(())
    }
    /// Rows since the last [`IndexDecoder::finish`].
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Bytes that they take, roughly.
    pub fn bytes(&self) -> usize {
        self.builders.iter().map(ColumnBuilder::bytes).sum()
    }
    /// The output columns.
    pub fn columns(&self) -> &[ScanColumn] {
        &self.scan.columns
    }
    /// The entries so far as a batch; the decoder starts anew.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when the columns do not fit together.
    pub fn finish(&mut self) -> Result<RecordBatch, EvalError> {
        let rows = std::mem::take(&mut self.rows);
        finish_batch(self.builders.iter_mut(), &self.scan.schema, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collation::Collation;
    use crate::convert::value_at;
    use crate::decimal::Decimal;
    use crate::key::{Handle, IndexPart, IndexTarget, decode_index_handle, encode_index_entry};
    use crate::row::encode_row;
    use crate::temporal::DateTime;
    use crate::types::TypeKind;
    use basalt_common::{IndexId, TableId, table_key};
    use proptest::prelude::*;

    fn types() -> Vec<FieldType> {
        vec![
            FieldType::bigint(),
            FieldType::bigint_unsigned(),
            FieldType::double(),
            FieldType::decimal(20, 3),
            FieldType::decimal(50, 5),
            FieldType::varchar(20),
            FieldType::varbinary(20),
            FieldType::datetime(6),
            FieldType::new(TypeKind::Timestamp),
            FieldType::time(6),
        ]
    }

    fn value_of(kind: usize, number: i64, text: &str) -> Value {
        let date = DateTime::from_micros(number.rem_euclid(300_000_000_000_000_000)).unwrap();
        match kind {
            0 => Value::Int(number),
            1 => Value::UInt(number as u64),
            2 => Value::Double(number as f64 / 8.0),
            3 => Value::Decimal(Decimal::new(i128::from(number) / 100, 3)),
            4 => Value::Decimal(Decimal::new(i128::from(number) * 1_000_000_007, 5)),
            5 => Value::from(text),
            6 => Value::from(text.as_bytes().to_vec()),
            7 => Value::DateTime(date),
            8 => Value::DateTime(DateTime::from_date(1970 + (number.unsigned_abs() % 60) as u32, 3, 4)),
            _ => Value::Time(number % crate::temporal::TIME_MAX),
        }
    }

    /// All collations but `binary`, whose strings are no text.
    static TEXT: std::sync::LazyLock<Vec<Collation>> =
        std::sync::LazyLock::new(|| Collation::all().into_iter().filter(|c| *c != Collation::Binary).collect());

    type RowSpec = Vec<(u32, usize, Option<(i64, String)>)>;

    fn rows() -> impl Strategy<Value = RowSpec> {
        let column = (1u32..600, 0usize..10, proptest::option::of((any::<i64>(), "[a-zA-Z ü]{0,12}")));
        proptest::collection::vec(column, 0..20)
    }

    proptest! {
        #[test]
        fn rows_come_back(spec in rows()) {
            let types = types();
            let mut columns: Vec<(u32, FieldType, Value)> = Vec::new();
            for (id, kind, content) in spec {
                if columns.iter().all(|c| c.0 != id) {
                    let value = content.map_or(Value::Null, |(number, text)| value_of(kind, number, &text));
                    columns.push((id, types[kind].clone(), value));
                }
            }
            let borrowed: Vec<_> = columns.iter().map(|(id, ty, value)| (*id, ty, value)).collect();
            let mut bytes = Vec::new();
            encode_row(&borrowed, &mut bytes).unwrap();
            let mut wanted: Vec<_> = columns.iter().map(|(id, ty, _)| ScanColumn::new(*id, ty.clone())).collect();
            wanted.reverse();
            let mut decoder = RowDecoder::new(wanted, 2);
            decoder.append(&[0; 8], &bytes).unwrap();
            decoder.append(&[0; 8], &bytes).unwrap();
            let batch = decoder.finish().unwrap();
            prop_assert_eq!(batch.num_rows(), 2);
            for (at, (_, ty, value)) in columns.iter().rev().enumerate() {
                prop_assert_eq!(&value_at(batch.column(at), ty, 1).unwrap(), value);
            }
        }

        #[test]
        fn damaged_rows_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let wanted: Vec<_> = types().into_iter().enumerate().map(|(id, ty)| ScanColumn::new(id as u32, ty)).collect();
            let mut decoder = RowDecoder::new(wanted, 1);
            let mut bytes = bytes;
            if bytes.len() > 1 {
                (bytes[0], bytes[1]) = (1, bytes[1] & 1);
            }
            let _ = decoder.append(&[0; 8], &bytes);
        }

        #[test]
        fn index_entries_come_back(text in "[a-cA-C ßé日本あ한😀\\t\\u{301}]{0,10}", number in any::<i64>(), unique: bool, handle in any::<i64>(), collation in proptest::sample::select(TEXT.as_slice())) {
            let parts = [
                IndexPart::whole(FieldType::varchar(20).with_collation(collation)),
                IndexPart::whole(FieldType::bigint()),
            ];
            let target = IndexTarget { table: TableId(3), index: IndexId(1), unique, parts: &parts };
            let values = [Value::from(text.as_str()), Value::Int(number)];
            let entry = encode_index_entry(target, &values, &Handle::Int(handle)).unwrap();
            let found = decode_index_handle(&entry.key, &entry.value, 2, true).unwrap();
            prop_assert_eq!(found, Handle::Int(handle));
            let layout = IndexLayout {
                columns: vec![(7, parts[0].ty.clone()), (8, parts[1].ty.clone())],
                handle_columns: Vec::new(),
                integer_handle: true,
            };
            let id = ScanColumn { is_handle: true, ..ScanColumn::new(1, FieldType::bigint()) };
            let wanted = vec![ScanColumn::new(8, parts[1].ty.clone()), ScanColumn::new(7, parts[0].ty.clone()), id];
            let mut decoder = IndexDecoder::new(layout, wanted, 1).unwrap();
            decoder.append(table_key::decode(&entry.key).unwrap().2, &entry.value).unwrap();
            let batch = decoder.finish().unwrap();
            prop_assert_eq!(value_at(batch.column(0), &parts[1].ty, 0).unwrap(), Value::Int(number));
            prop_assert_eq!(value_at(batch.column(1), &parts[0].ty, 0).unwrap(), Value::from(text.as_str()));
            prop_assert_eq!(value_at(batch.column(2), &FieldType::bigint(), 0).unwrap(), Value::Int(handle));
        }
    }

    /// The weights of general_ci are code points in two bytes, which are UTF-8 as long as the text is Latin and are not
    /// for others: once read as text they made the whole entry unreadable.
    #[test]
    fn weights_need_not_be_text() {
        for text in ["日本", "ÿ", "Ab", "", "😀", "\u{ffff}"] {
            for collation in TEXT.iter().copied() {
                let parts = [IndexPart::whole(FieldType::varchar(20).with_collation(collation))];
                let target = IndexTarget { table: TableId(3), index: IndexId(1), unique: true, parts: &parts };
                let entry = encode_index_entry(target, &[Value::from(text)], &Handle::Int(1)).unwrap();
                let values = table_key::decode(&entry.key).unwrap().2;
                assert!(crate::key::decode_value(&mut &values[..], &parts[0].ty).is_ok());
                let columns = vec![(7, parts[0].ty.clone())];
                let layout = IndexLayout { columns, handle_columns: Vec::new(), integer_handle: true };
                let wanted = vec![ScanColumn::new(7, parts[0].ty.clone())];
                let mut decoder = IndexDecoder::new(layout, wanted, 1).unwrap();
                decoder.append(values, &entry.value).unwrap();
                let batch = decoder.finish().unwrap();
                assert_eq!(value_at(batch.column(0), &parts[0].ty, 0).unwrap(), Value::from(text));
            }
        }
    }

    #[test]
    fn missing_columns_have_defaults() {
        let int = FieldType::bigint();
        let mut bytes = Vec::new();
        encode_row(&[(1, &int, &Value::Int(5))], &mut bytes).unwrap();
        let added = ScanColumn { default: Some(vec![9]), ..ScanColumn::new(2, int.clone()) };
        let mut decoder = RowDecoder::new(vec![added, ScanColumn::new(3, int.clone())], 1);
        decoder.append(&[0; 8], &bytes).unwrap();
        let batch = decoder.finish().unwrap();
        assert_eq!(value_at(batch.column(0), &int, 0), Ok(Value::Int(9)));
        assert_eq!(value_at(batch.column(1), &int, 0), Ok(Value::Null));
    }
}
