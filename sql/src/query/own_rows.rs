//! The transaction's own rows within a scan: cut out of what storage is asked for, decoded here instead.
//!
//! ```text
//! ranges          [ ─────────────────────────── )
//! own writes            k1 put      k2 deleted
//! asked of storage [ ── )[k1+ ───── )[k2+ ───── )
//! decoded here          k1
//! ```
//! So no row comes twice, deleted and changed rows come from the transaction, and the fragment runs over both parts alike.
//! Neighboring integer keys leave no gap, hence a bulk insert cuts one hole rather than thousands.

use crate::context::DirtyRows;
use crate::error::{Error, Result};
use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use basalt_common::table_key::row_prefix;
use basalt_common::{KeyRange, TableId, UserKey};
use basalt_expr::fragment::{self, FragmentSource};
use basalt_expr::scan_decoder::ScanDecoder;
use basalt_expr::slices;
use basalt_proto::coprocessor::ScanSpec;
use bytes::Bytes;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_execution::runtime_env::RuntimeEnv;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use std::sync::Arc;

/// Ranges for storage and rows of the transaction.
pub struct Split {
    /// What storage is asked for.
    pub ranges: Vec<KeyRange>,
    /// Keys and values that the transaction has put.
    pub own: Vec<(UserKey, Bytes)>,
}

/// Takes the transaction's writes out of `ranges`.
pub fn split(ranges: &[KeyRange], dirty: Option<&DirtyRows>) -> Split {
    let mut out = Split { ranges: Vec::with_capacity(ranges.len()), own: Vec::new() };
    let Some(dirty) = dirty.filter(|d| !d.is_empty()) else {
        out.ranges.extend_from_slice(ranges);
        return out;
    };
    for range in ranges {
        let mut start = range.start.clone();
        for (key, value) in dirty.range(range) {
            // After an eight-byte handle the next integer's key is the successor: no key fits in between.
            if start < *key && next_integer(&start).as_ref() != Some(key) {
                out.ranges.push(KeyRange { start: start.clone(), end: key.clone() });
            }
            start = key.successor();
            out.own.extend(value.clone().map(|value| (key.clone(), value)));
        }
        if range.end.0.is_empty() || start < range.end {
            out.ranges.push(KeyRange { start, end: range.end.clone() });
        }
    }
    out
}

/// For `key ⊕ 00`, the successor of a row key with an integer handle, the row key of the next integer.
fn next_integer(successor: &UserKey) -> Option<UserKey> {
    let (last, key) = successor.0.split_last()?;
    if *last != 0 || key.len() != basalt_common::table_key::ROW_PREFIX_LEN + 8 {
        return None;
    }
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev().take(8) {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(UserKey::from(key));
        }
    }
    None
}

/// Decodes rows of the transaction as storage would.
///
/// # Errors
/// [`Error::Internal`] when they do not decode.
pub fn decode(spec: &ScanSpec, own: &[(UserKey, Bytes)]) -> Result<RecordBatch> {
    let mut decoder = ScanDecoder::new(spec, own.len()).map_err(internal)?;
    for (key, value) in own {
        decoder.append(key.as_slice(), value).map_err(internal)?;
    }
    decoder.finish().map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

/// Runs a fragment over rows that are here.
pub fn run(
    fragment: &Arc<dyn ExecutionPlan>,
    rows: Result<RecordBatch>,
    runtime: Arc<RuntimeEnv>,
    batch_rows: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    let start = || -> Result<SendableRecordBatchStream, Error> {
        let source = Arc::new(OneBatch(Mutex::new(Some(rows?))));
        let plan = fragment::instance(fragment).and_then(slices::cut).map_err(internal)?;
        plan.execute(0, fragment::task_context(source, runtime, batch_rows)).map_err(Error::from)
    };
    match start() {
        Ok(stream) => stream.map(|batch| batch.map_err(Error::from)).boxed(),
        Err(error) => futures::stream::iter([Err(error)]).boxed(),
    }
}

struct OneBatch(Mutex<Option<RecordBatch>>);

impl FragmentSource for OneBatch {
    fn open(&self, schema: &SchemaRef) -> datafusion_common::Result<SendableRecordBatchStream> {
        let batch = self.0.lock().take().map(|batch| fragment::conform(&batch, schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), futures::stream::iter(batch))))
    }
}

/// Puts batches together until there are `rows` rows.
pub fn rechunk(
    batches: BoxStream<'static, Result<RecordBatch>>,
    rows: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    let state = (batches, false);
    futures::stream::unfold(state, move |(mut batches, done)| async move {
        if done {
            return None;
        }
        let (mut held, mut count) = (Vec::new(), 0);
        while count < rows {
            match batches.next().await {
                Some(Ok(batch)) => {
                    count += batch.num_rows();
                    held.push(batch);
                }
                Some(Err(error)) => return Some((Err(error), (batches, true))),
                None => {
                    let first = held.first()?.schema();
                    return Some((concat_batches(&first, &held).map_err(internal), (batches, true)));
                }
            }
        }
        let schema = held.first()?.schema();
        Some((concat_batches(&schema, &held).map_err(internal), (batches, false)))
    })
    .boxed()
}

/// The row keys of a batch of encoded handles, sorted.
///
/// # Errors
/// [`Error::Internal`] when the batch is not one column of bytes.
pub fn row_keys(table: TableId, handles: &RecordBatch) -> Result<Vec<UserKey>> {
    let column = handles.columns().first().and_then(|column| column.as_binary_opt::<i32>());
    let column = column.ok_or_else(|| Error::Internal("handles are a column of bytes".to_string()))?;
    let key = |handle: &[u8]| {
        let mut key = row_prefix(table);
        key.extend_from_slice(handle);
        UserKey::from(key)
    };
    let mut keys: Vec<_> = column.iter().flatten().map(key).collect();
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// One range a key.
pub fn point_ranges(keys: Vec<UserKey>) -> Vec<KeyRange> {
    keys.into_iter()
        .map(|start| {
            let end = start.successor();
            KeyRange { start, end }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_common::table_key::{row_key, rows_range};

    #[test]
    fn own_keys_are_cut_out_and_neighbors_leave_no_gap() {
        let table = TableId(3);
        let key = |handle: i64| UserKey::from(row_key(table, handle));
        let put = |handle: i64| (key(handle), Some(Bytes::from_static(b"v")));
        let dirty = DirtyRows::new([put(5), put(6), (key(7), None), put(10)]);
        let all = rows_range(table);
        let split = split(std::slice::from_ref(&all), Some(&dirty));
        let expected = [
            KeyRange { start: all.start.clone(), end: key(5) },
            KeyRange { start: key(7).successor(), end: key(10) },
            KeyRange { start: key(10).successor(), end: all.end.clone() },
        ];
        assert_eq!(split.ranges, expected);
        assert_eq!(split.own.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>(), [key(5), key(6), key(10)]);
    }
}
