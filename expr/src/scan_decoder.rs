//! From what a scan reads (keys and values) to Arrow batches, by the scan's specification: for the storage node and, for
//! rows that a transaction has not committed yet, for the SQL server.

use crate::error::EvalError;
use crate::key::decode_index_handle;
use crate::row::{IndexDecoder, IndexLayout, RowDecoder, ScanColumn};
use arrow::array::{ArrayBuilder, BinaryBuilder, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use basalt_common::table_key::{INDEX_PREFIX_LEN, ROW_PREFIX_LEN};
use basalt_proto::coprocessor::{self as pb, ScanSpec, scan_spec::Source};
use std::sync::Arc;

/// Decodes rows or index entries, a batch at a time.
pub struct ScanDecoder {
    kind: Kind,
}

enum Kind {
    /// No column is wanted: rows are counted.
    Count {
        rows: usize,
        schema: SchemaRef,
    },
    Rows(RowDecoder),
    Entries(IndexDecoder),
    /// Only the handles of index entries are wanted, as they end row keys.
    Handles {
        builder: BinaryBuilder,
        index_columns: usize,
        integer: bool,
        schema: SchemaRef,
    },
}

impl ScanDecoder {
    /// A decoder of what `spec` names; `capacity` is the number of rows to make room for.
    ///
    /// # Errors
    /// [`EvalError`] when the specification is not whole, or has types of a newer version.
    pub fn new(spec: &ScanSpec, capacity: usize) -> Result<ScanDecoder, EvalError> {
        let columns = columns_of(&spec.columns)?;
        if columns.is_empty() {
            return Ok(ScanDecoder { kind: Kind::Count { rows: 0, schema: Arc::new(Schema::empty()) } });
        }
        let kind = match &spec.source {
            Some(Source::Table(_)) => Kind::Rows(RowDecoder::new(columns, capacity)),
            Some(Source::Index(index)) if is_encoded_handle(&columns) => Kind::Handles {
                builder: BinaryBuilder::new(),
                index_columns: index.index_parts.len(),
                integer: index.integer_handle,
                schema: Arc::new(Schema::new(vec![Field::new("handle", DataType::Binary, false)])),
            },
            Some(Source::Index(index)) => {
                let layout = IndexLayout {
                    columns: typed(&index.index_parts)?,
                    handle_columns: typed(&index.handle_parts)?,
                    integer_handle: index.integer_handle,
                };
                Kind::Entries(IndexDecoder::new(layout, columns, capacity)?)
            }
            None => return Err(EvalError::Internal("a scan of neither table nor index".to_string())),
        };
        Ok(ScanDecoder { kind })
    }

    /// The batches' schema.
    pub fn schema(&self) -> SchemaRef {
        match &self.kind {
            Kind::Count { schema, .. } | Kind::Handles { schema, .. } => schema.clone(),
            Kind::Rows(decoder) => decoder.schema(),
            Kind::Entries(decoder) => decoder.schema(),
        }
    }

    /// True when values are not looked at.
    pub fn is_key_only(&self) -> bool {
        matches!(self.kind, Kind::Count { .. })
    }

    /// Appends a row (or an entry) by its key and value.
    ///
    /// # Errors
    /// [`EvalError`] for damaged bytes; the decoder is not to be used further.
    pub fn append(&mut self, key: &[u8], value: &[u8]) -> Result<(), EvalError> {
        let behind =
            |prefix: usize| key.get(prefix..).ok_or_else(|| EvalError::Internal("key of no table".to_string()));
        match &mut self.kind {
            Kind::Count { rows, .. } => *rows += 1,
            Kind::Rows(decoder) => decoder.append(behind(ROW_PREFIX_LEN)?, value)?,
            Kind::Entries(decoder) => decoder.append(behind(INDEX_PREFIX_LEN)?, value)?,
            Kind::Handles { builder, index_columns, integer, .. } => {
                let handle = decode_index_handle(key, value, *index_columns, *integer)?;
                let mut bytes = Vec::with_capacity(8);
                handle.encode(&mut bytes);
                builder.append_value(&bytes);
            }
        }
        Ok(())
    }

    /// Rows since the last batch.
    pub fn rows(&self) -> usize {
        match &self.kind {
            Kind::Count { rows, .. } => *rows,
            Kind::Rows(decoder) => decoder.rows(),
            Kind::Entries(decoder) => decoder.rows(),
            Kind::Handles { builder, .. } => builder.len(),
        }
    }

    /// Bytes that they take, roughly.
    pub fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Count { .. } => 0,
            Kind::Rows(decoder) => decoder.bytes(),
            Kind::Entries(decoder) => decoder.bytes(),
            Kind::Handles { builder, .. } => builder.values_slice().len(),
        }
    }

    /// The rows so far as a batch; the decoder starts anew.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when the columns do not fit together.
    pub fn finish(&mut self) -> Result<RecordBatch, EvalError> {
        match &mut self.kind {
            Kind::Count { rows, schema } => {
                let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(rows)));
                Ok(RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options)?)
            }
            Kind::Rows(decoder) => decoder.finish(),
            Kind::Entries(decoder) => decoder.finish(),
            Kind::Handles { builder, schema, .. } => {
                Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(builder.finish())])?)
            }
        }
    }
}

fn columns_of(columns: &[pb::ScanColumn]) -> Result<Vec<ScanColumn>, EvalError> {
    columns.iter().map(|c| ScanColumn::from_proto(c).map_err(|e| EvalError::Internal(e.to_string()))).collect()
}

fn typed(columns: &[pb::ScanColumn]) -> Result<Vec<(u32, crate::types::FieldType)>, EvalError> {
    Ok(columns_of(columns)?.into_iter().map(|c| (c.id, c.ty)).collect())
}

/// One handle column of type VARBINARY asks for handles as they are encoded, not for a value.
fn is_encoded_handle(columns: &[ScanColumn]) -> bool {
    matches!(columns, [column] if column.is_handle && column.ty.is_binary_string())
}
