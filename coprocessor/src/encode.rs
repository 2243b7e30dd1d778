//! Arrow batches as bytes of a response: one IPC stream (schema, batch, end) a message, so that a message reads alone.

use crate::config::BATCH_BYTES_MAX;
use crate::error::Result;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use basalt_proto::coprocessor::CoprocessorResponse;

/// Messages that carry a batch, cut so that each stays near [`BATCH_BYTES_MAX`].
pub fn responses(batch: &RecordBatch) -> impl Iterator<Item = Result<CoprocessorResponse>> + '_ {
    let (rows, bytes) = (batch.num_rows(), batch.get_array_memory_size());
    let parts = bytes.div_ceil(BATCH_BYTES_MAX).clamp(1, rows.max(1));
    let step = rows.div_ceil(parts).max(1);
    (0..rows).step_by(step).map(move |start| message(&batch.slice(start, step.min(rows - start))))
}

fn message(batch: &RecordBatch) -> Result<CoprocessorResponse> {
    let mut bytes = Vec::with_capacity(1_024);
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), IpcWriteOptions::default())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(CoprocessorResponse { batch: bytes.into(), rows: batch.num_rows() as u64, ..Default::default() })
}
