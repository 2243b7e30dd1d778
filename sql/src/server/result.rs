//! Results: OK, error, rows in the text and the binary protocol.
//!
//! ```text
//! OK        00 (or fe at the end of rows) | affected lenenc | insert id lenenc | status u16 | warnings u16 | info
//! EOF       fe | warnings u16 | status u16                            for clients without DEPRECATE_EOF
//! rows      column count lenenc · column definitions · [EOF] · rows · OK or EOF
//! text row      per column: fb for NULL, else the text as a length-encoded string
//! binary row    00 | null bitmap, (columns + 9) / 8 bytes, first column at bit 2 | values of the columns not NULL
//! ```
//!
//! A session gets one [`ResultWriter`] and makes any number of results with it, the last one without
//! [`Status::MORE_RESULTS`]. Errors are returned, not written: a session fails by returning [`MySqlError`], also between
//! two rows, and the connection ends the result with it.
//!
//! Everything is appended to one buffer. [`RowWriter`]'s cells never wait; between rows a session calls
//! [`RowWriter::back_pressure`], which writes when 64 KiB have come together and waits when the client does not read.
//!
//! Invariants: a row leaves whole or not at all; a row whose cells do not match its columns is an error and not bytes
//! that a client would misread; after the client is gone every call fails.

use super::charset::ResultCharset;
use super::column::{CellType, ColumnDef, ColumnSet, encode_field_list_entry};
use super::config::LOCAL_INFILE_QUEUE;
use super::constant::{Capabilities, Status, TypeCode};
use super::error::{MySqlError, code};
use super::infile::{InfileProgress, InfileTransfer, LocalInfile};
use super::packet::PacketWriter;
use super::payload::{put_lenenc_bytes, put_lenenc_int, put_lenenc_with};
use super::temporal::{DateTimeParts, TimeParts};
use basalt_expr::number;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The shape of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// COM_QUERY: every value as text.
    Text,
    /// COM_STMT_EXECUTE: values in their own shapes.
    Binary,
}

/// What a statement without rows reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OkSummary<'a> {
    /// Rows changed (or found, when the client asked for that).
    pub affected_rows: u64,
    /// First generated AUTO_INCREMENT value; 0 for none.
    pub last_insert_id: u64,
    /// The session's state after the statement.
    pub status: Status,
    /// Warnings of the statement.
    pub warnings: u16,
    /// Text such as `Records: 3  Duplicates: 0  Warnings: 0`.
    pub info: &'a str,
    /// The schema that the statement made the current one, for clients that track it.
    pub schema: Option<&'a str>,
}

/// What is reported after the last row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EndOfRows {
    /// The session's state after the statement.
    pub status: Status,
    /// Warnings of the statement.
    pub warnings: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// A result is due: at the start, and after one that announced another.
    Due,
    /// Rows are being sent.
    InRows,
    /// The last result is complete.
    Complete,
}

/// Makes the answer to one command.
pub struct ResultWriter {
    packets: PacketWriter,
    capabilities: Capabilities,
    protocol: Protocol,
    progress: Progress,
    row_bytes_max: usize,
    multi_statements: bool,
    gone: bool,
    transfers: mpsc::Sender<InfileTransfer>,
    transfer: Option<Arc<InfileProgress>>,
}

impl ResultWriter {
    pub(super) fn new(packets: PacketWriter, transfers: mpsc::Sender<InfileTransfer>) -> ResultWriter {
        ResultWriter {
            packets,
            capabilities: Capabilities::default(),
            protocol: Protocol::Text,
            progress: Progress::Due,
            row_bytes_max: usize::MAX,
            multi_statements: false,
            gone: false,
            transfers,
            transfer: None,
        }
    }

    pub(super) fn set_capabilities(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
        self.multi_statements = capabilities.has(Capabilities::MULTI_STATEMENTS);
    }

    pub(super) fn set_multi_statements(&mut self, allowed: bool) {
        self.multi_statements = allowed;
    }

    pub(super) fn packets(&mut self) -> &mut PacketWriter {
        &mut self.packets
    }

    pub(super) fn into_packets(self) -> PacketWriter {
        self.packets
    }

    /// Prepares for the answer to the next command.
    pub(super) fn start(&mut self, protocol: Protocol, sequence: u8, row_bytes_max: usize) {
        self.protocol = protocol;
        self.progress = Progress::Due;
        self.row_bytes_max = row_bytes_max;
        self.packets.next_sequence = sequence;
        self.transfer = None;
    }

    /// Ends the answer: an error goes where the result stopped, and a session that left its result unfinished without
    /// an error is told on.
    pub(super) fn conclude(&mut self, outcome: Result<(), MySqlError>, charset: ResultCharset) {
        self.packets.abandon();
        match outcome {
            Ok(()) if self.progress == Progress::Complete => {}
            Ok(()) => self.error(&MySqlError::internal("the statement ended without a complete result")),
            Err(error) => self.error_in(&error, charset),
        }
    }

    /// Ends an authentication, whose packets are no results.
    pub(super) fn conclude_with_ok(&mut self, summary: &OkSummary<'_>) {
        self.put_ok(0x00, summary);
        self.progress = Progress::Complete;
    }

    /// Appends an error packet.
    pub(super) fn error(&mut self, error: &MySqlError) {
        self.error_in(error, ResultCharset::default());
    }

    fn error_in(&mut self, error: &MySqlError, charset: ResultCharset) {
        if let Some(sequence) = self.transfer.take().and_then(|transfer| transfer.sequence_after()) {
            self.packets.next_sequence = sequence;
        }
        error.encode(self.packets.begin(), Some(self.capabilities), charset);
        self.packets.end();
        self.progress = Progress::Complete;
    }

    /// How this result's rows are sent.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// True when the command may hold several statements.
    pub fn multi_statements_allowed(&self) -> bool {
        self.multi_statements
    }

    /// Writes a result without rows.
    ///
    /// # Errors
    /// When no result is due.
    pub fn ok(&mut self, summary: &OkSummary<'_>) -> Result<(), MySqlError> {
        self.expect_due()?;
        if let Some(transfer) = self.transfer.take() {
            self.packets.next_sequence = transfer
                .sequence_after()
                .ok_or_else(|| MySqlError::internal("the statement ended before the client's file"))?;
        }
        self.put_ok(0x00, summary);
        self.complete(summary.status);
        Ok(())
    }

    /// Starts a result with rows: column count and definitions. The columns must not be empty.
    ///
    /// # Errors
    /// When no result is due, or there are no columns.
    pub fn start_rows<'a>(&'a mut self, columns: &'a ColumnSet) -> Result<RowWriter<'a>, MySqlError> {
        self.expect_due()?;
        if columns.is_empty() {
            return Err(MySqlError::internal("rows without columns"));
        }
        put_lenenc_int(self.packets.begin(), columns.len() as u64);
        self.packets.end();
        self.put_definitions(columns);
        self.progress = Progress::InRows;
        Ok(RowWriter {
            out: self,
            columns: columns.cells(),
            bitmap_at: 0,
            filled: 0,
            open: false,
            misfit: false,
            too_long: false,
        })
    }

    /// Asks the client for a file of LOAD DATA LOCAL. Its contents must be read to their end before the result.
    ///
    /// # Errors
    /// When the client or the server does not allow it, or the client is gone.
    pub async fn request_local_infile(&mut self, name: &str) -> Result<LocalInfile, MySqlError> {
        self.expect_due()?;
        if !self.capabilities.has(Capabilities::LOCAL_FILES) {
            let text = "Loading local data is disabled; this must be enabled on both the client and server sides";
            return Err(MySqlError::new(code::ER_NOT_SUPPORTED_YET, text));
        }
        let payload = self.packets.begin();
        payload.push(0xfb);
        payload.extend_from_slice(name.as_bytes());
        self.packets.end();
        self.flush().await?;
        let (sender, chunks) = mpsc::channel(LOCAL_INFILE_QUEUE);
        let (transfer, progress) = InfileTransfer::new(sender, self.packets.next_sequence);
        self.transfer = Some(progress);
        self.transfers
            .try_send(transfer)
            .map_err(|_| MySqlError::internal("a file is already being read from the client"))?;
        Ok(LocalInfile { chunks })
    }

    /// Writes what has been collected.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn flush(&mut self) -> Result<(), MySqlError> {
        if !self.gone && self.packets.flush().await.is_err() {
            self.gone = true;
        }
        if self.gone { Err(gone()) } else { Ok(()) }
    }

    /// The answer to COM_STMT_PREPARE.
    pub(super) fn prepared(&mut self, id: u32, parameters: usize, columns: &ColumnSet, warnings: u16, status: Status) {
        let payload = self.packets.begin();
        payload.push(0);
        payload.extend_from_slice(&id.to_le_bytes());
        payload.extend_from_slice(&(columns.len() as u16).to_le_bytes());
        payload.extend_from_slice(&(parameters as u16).to_le_bytes());
        payload.push(0);
        payload.extend_from_slice(&warnings.to_le_bytes());
        self.packets.end();
        let parameter = ColumnDef::parameter();
        for _ in 0..parameters {
            parameter.encode(ResultCharset::default(), self.packets.begin());
            self.packets.end();
        }
        if parameters > 0 {
            self.put_eof_of_definitions(status);
        }
        if !columns.is_empty() {
            let (packets, sequence_at) = columns.packets();
            self.packets.append_ready(packets, sequence_at);
            self.put_eof_of_definitions(status);
        }
        self.progress = Progress::Complete;
    }

    /// The answer to COM_FIELD_LIST.
    pub(super) fn field_list(&mut self, columns: &[ColumnDef], charset: ResultCharset, end: EndOfRows) {
        for column in columns {
            encode_field_list_entry(column, charset, self.packets.begin());
            self.packets.end();
        }
        self.end_of_rows(end);
    }

    /// The packet that ends rows, by itself the answer to COM_SET_OPTION.
    pub(super) fn end_of_rows(&mut self, end: EndOfRows) {
        if self.capabilities.has(Capabilities::DEPRECATE_EOF) {
            self.put_ok(0xfe, &OkSummary { status: end.status, warnings: end.warnings, ..OkSummary::default() });
        } else {
            self.put_eof(end);
        }
        self.complete(end.status);
    }

    /// A payload that is neither OK nor error: COM_STATISTICS, authentication data.
    pub(super) fn raw(&mut self, payload: &[u8]) {
        self.packets.begin().extend_from_slice(payload);
        self.packets.end();
        self.progress = Progress::Complete;
    }

    fn put_definitions(&mut self, columns: &ColumnSet) {
        let (packets, sequence_at) = columns.packets();
        self.packets.append_ready(packets, sequence_at);
        self.put_eof_of_definitions(Status::default());
    }

    fn put_eof_of_definitions(&mut self, status: Status) {
        if !self.capabilities.has(Capabilities::DEPRECATE_EOF) {
            self.put_eof(EndOfRows { status, warnings: 0 });
        }
    }

    fn put_eof(&mut self, end: EndOfRows) {
        let payload = self.packets.begin();
        payload.push(0xfe);
        payload.extend_from_slice(&end.warnings.to_le_bytes());
        payload.extend_from_slice(&end.status.0.to_le_bytes());
        self.packets.end();
    }

    fn put_ok(&mut self, header: u8, summary: &OkSummary<'_>) {
        let schema = summary.schema.filter(|_| self.capabilities.has(Capabilities::SESSION_TRACK));
        let status = match schema {
            Some(_) => summary.status.with(Status::SESSION_STATE_CHANGED),
            None => summary.status.without(Status::SESSION_STATE_CHANGED),
        };
        let payload = self.packets.begin();
        payload.push(header);
        put_lenenc_int(payload, summary.affected_rows);
        put_lenenc_int(payload, summary.last_insert_id);
        payload.extend_from_slice(&status.0.to_le_bytes());
        payload.extend_from_slice(&summary.warnings.to_le_bytes());
        if !summary.info.is_empty() || schema.is_some() {
            put_lenenc_bytes(payload, summary.info.as_bytes());
        }
        if let Some(schema) = schema {
            put_lenenc_with(payload, |changes| {
                changes.push(0x01);
                put_lenenc_with(changes, |change| put_lenenc_bytes(change, schema.as_bytes()));
            });
        }
        self.packets.end();
    }

    fn expect_due(&self) -> Result<(), MySqlError> {
        match (self.gone, self.progress) {
            (true, _) => Err(gone()),
            (false, Progress::Due) => Ok(()),
            (false, _) => Err(MySqlError::internal("a result where none was announced")),
        }
    }

    fn complete(&mut self, status: Status) {
        self.progress = if status.has(Status::MORE_RESULTS) { Progress::Due } else { Progress::Complete };
    }
}

fn gone() -> MySqlError {
    MySqlError::new(code::ER_NET_ERROR_ON_WRITE, "Got an error writing communication packets")
}

/// Writes the rows of one result, cell by cell from the left.
pub struct RowWriter<'a> {
    out: &'a mut ResultWriter,
    columns: &'a [CellType],
    /// Where the open row's null bitmap stands.
    bitmap_at: usize,
    /// Cells of the open row.
    filled: usize,
    open: bool,
    /// A cell did not fit its column's type.
    misfit: bool,
    /// A cell was left out, with which the row would be longer than a packet may be.
    too_long: bool,
}

impl RowWriter<'_> {
    /// How rows are sent.
    pub fn protocol(&self) -> Protocol {
        self.out.protocol
    }

    /// The types of the columns.
    pub fn columns(&self) -> &[CellType] {
        self.columns
    }

    /// NULL.
    #[inline]
    pub fn null(&mut self) {
        let column = self.filled;
        let Some((out, _, binary)) = self.cell() else { return };
        if !binary {
            return out.push(0xfb);
        }
        let bit = column + 2;
        let at = self.bitmap_at + bit / 8;
        if let Some(byte) = self.out.packets.payload().get_mut(at) {
            *byte |= 1 << (bit % 8);
        }
    }

    /// A signed integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        let Some((out, code, binary)) = self.cell() else { return };
        if !binary || !put_fixed_int(out, code, value as u64) {
            put_lenenc_bytes(out, itoa::Buffer::new().format(value).as_bytes());
            self.misfit |= binary && is_fixed(code);
        }
    }

    /// An unsigned integer.
    #[inline]
    pub fn uint(&mut self, value: u64) {
        let Some((out, code, binary)) = self.cell() else { return };
        if !binary || !put_fixed_int(out, code, value) {
            put_lenenc_bytes(out, itoa::Buffer::new().format(value).as_bytes());
            self.misfit |= binary && is_fixed(code);
        }
    }

    /// A FLOAT, whose text has the digits of single precision.
    #[inline]
    pub fn float(&mut self, value: f32) {
        let Some((out, code, binary)) = self.cell() else { return };
        match code {
            TypeCode::FLOAT if binary => out.extend_from_slice(&value.to_le_bytes()),
            TypeCode::DOUBLE if binary => out.extend_from_slice(&f64::from(value).to_le_bytes()),
            _ => {
                put_lenenc_with(out, |out| number::format_float(f64::from(value), out));
                self.misfit |= binary && is_fixed(code);
            }
        }
    }

    /// A DOUBLE.
    #[inline]
    pub fn double(&mut self, value: f64) {
        let Some((out, code, binary)) = self.cell() else { return };
        match code {
            TypeCode::DOUBLE if binary => out.extend_from_slice(&value.to_le_bytes()),
            TypeCode::FLOAT if binary => out.extend_from_slice(&(value as f32).to_le_bytes()),
            _ => {
                put_lenenc_with(out, |out| number::format_double(value, out));
                self.misfit |= binary && is_fixed(code);
            }
        }
    }

    /// A string of bytes or characters, or the text of a DECIMAL.
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        let value = if self.is_full_with(value.len()) { &[] } else { value };
        let Some((out, code, binary)) = self.cell() else { return };
        put_lenenc_bytes(out, value);
        self.misfit |= binary && is_fixed(code);
    }

    /// What `write` appends, as a string: for values that are formatted in place.
    #[inline]
    pub fn bytes_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let is_full = self.is_full_with(0);
        let Some((out, code, binary)) = self.cell() else { return };
        if !is_full {
            put_lenenc_with(out, write);
        }
        self.misfit |= binary && is_fixed(code);
    }

    /// What `write` appends, as it is: the caller makes the complete cell in the shape of [`protocol`](Self::protocol).
    #[inline]
    pub fn raw_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let is_full = self.is_full_with(0);
        if let Some((out, _, _)) = self.cell()
            && !is_full
        {
            write(out);
        }
    }

    /// A DATE, DATETIME or TIMESTAMP, by the column's type; text has `decimals` digits after the second.
    pub fn datetime(&mut self, value: &DateTimeParts, decimals: u8) {
        let Some((out, code, binary)) = self.cell() else { return };
        let date_only = code == TypeCode::DATE;
        match binary && matches!(code, TypeCode::DATE | TypeCode::DATETIME | TypeCode::TIMESTAMP) {
            true => value.encode_binary(out, date_only),
            false => {
                put_lenenc_with(out, |out| value.encode_text(out, date_only, decimals));
                self.misfit |= binary && is_fixed(code);
            }
        }
    }

    /// A TIME; text has `decimals` digits after the second.
    pub fn time(&mut self, value: &TimeParts, decimals: u8) {
        let Some((out, code, binary)) = self.cell() else { return };
        match binary && code == TypeCode::TIME {
            true => value.encode_binary(out),
            false => {
                put_lenenc_with(out, |out| value.encode_text(out, decimals));
                self.misfit |= binary && is_fixed(code);
            }
        }
    }

    /// Ends the row.
    ///
    /// # Errors
    /// When its cells do not match the columns, or it is longer than `max_allowed_packet`. The row is dropped.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), MySqlError> {
        let fits = self.filled == self.columns.len() && !self.misfit;
        let length = self.out.packets.payload_len();
        let is_short = !self.too_long && length <= self.out.row_bytes_max;
        (self.filled, self.misfit, self.too_long, self.open) = (0, false, false, false);
        if fits && is_short {
            self.out.packets.end();
            return Ok(());
        }
        self.out.packets.abandon();
        Err(if fits {
            MySqlError::new(code::ER_NET_PACKET_TOO_LARGE, "Got a packet bigger than 'max_allowed_packet' bytes")
        } else {
            MySqlError::internal("a row that does not match its columns")
        })
    }

    /// Writes when enough has come together, and waits for a client that reads slowly. Call it between rows.
    ///
    /// # Errors
    /// When the client is gone.
    #[inline]
    pub async fn back_pressure(&mut self) -> Result<(), MySqlError> {
        if self.out.packets.is_full() { self.out.flush().await } else { Ok(()) }
    }

    /// Ends the result.
    ///
    /// # Errors
    /// When a row is open.
    pub fn finish(self, end: EndOfRows) -> Result<(), MySqlError> {
        if self.open {
            return Err(MySqlError::internal("a result that ends inside a row"));
        }
        self.out.end_of_rows(end);
        Ok(())
    }

    /// Whether the row is longer than a packet with so many bytes more. It is asked at each cell, and no other is written
    /// then: a row of long ones may be many times as long.
    #[inline]
    fn is_full_with(&mut self, bytes: usize) -> bool {
        let length = if self.open { self.out.packets.payload_len() } else { 0 };
        self.too_long |= length.saturating_add(bytes) > self.out.row_bytes_max;
        self.too_long
    }

    /// The place of the next cell, its type, and whether it is binary. None past the last column, which
    /// [`end_row`](Self::end_row) reports.
    #[inline]
    fn cell(&mut self) -> Option<(&mut Vec<u8>, TypeCode, bool)> {
        let binary = self.out.protocol == Protocol::Binary;
        if !self.open {
            self.open = true;
            let count = self.columns.len();
            let payload = self.out.packets.begin();
            if binary {
                payload.push(0);
                self.bitmap_at = payload.len();
                payload.resize(payload.len() + (count + 9) / 8, 0);
            }
        }
        let column = self.columns.get(self.filled);
        // Counts past the end as well, so that a row with too many cells is noticed.
        self.filled += 1;
        column.map(|column| (self.out.packets.payload(), column.code, binary))
    }
}

/// Types whose binary values carry no length of their own, or not as strings do.
fn is_fixed(code: TypeCode) -> bool {
    matches!(
        code,
        TypeCode::TINY
            | TypeCode::BOOL
            | TypeCode::SHORT
            | TypeCode::YEAR
            | TypeCode::LONG
            | TypeCode::INT24
            | TypeCode::LONGLONG
            | TypeCode::FLOAT
            | TypeCode::DOUBLE
            | TypeCode::DATE
            | TypeCode::DATETIME
            | TypeCode::TIMESTAMP
            | TypeCode::TIME
    )
}

/// Appends an integer in its column's width; false when the column is not an integer.
#[inline]
fn put_fixed_int(out: &mut Vec<u8>, code: TypeCode, value: u64) -> bool {
    let [a, b, c, d, ..] = value.to_le_bytes();
    match code {
        TypeCode::LONGLONG => out.extend_from_slice(&value.to_le_bytes()),
        TypeCode::LONG | TypeCode::INT24 => out.extend_from_slice(&[a, b, c, d]),
        TypeCode::SHORT | TypeCode::YEAR => out.extend_from_slice(&[a, b]),
        TypeCode::TINY | TypeCode::BOOL => out.push(a),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::packet::{PacketReader, PacketWriter};
    use std::time::Duration;

    fn writer(capabilities: Capabilities, protocol: Protocol) -> ResultWriter {
        let packets = PacketWriter::new(Box::new(tokio::io::sink()), Duration::from_secs(1));
        let mut out = ResultWriter::new(packets, mpsc::channel(1).0);
        out.set_capabilities(capabilities);
        out.start(protocol, 1, 1 << 20);
        out
    }

    /// The payloads written so far, checked for their sequence.
    fn payloads(out: &mut ResultWriter) -> Vec<Vec<u8>> {
        let bytes = out.packets.payload().clone();
        let mut reader = PacketReader::new(Box::new(std::io::Cursor::new(bytes)), 1 << 20);
        reader.next_sequence = 1;
        let mut payloads = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        while let Ok(payload) = runtime.block_on(reader.read_packet()) {
            payloads.push(payload.to_vec());
        }
        payloads
    }

    fn two_columns() -> ColumnSet {
        let small = ColumnDef { type_code: TypeCode::SHORT, ..ColumnDef::bigint("a") };
        ColumnSet::new(vec![small, ColumnDef::text("b", 3)])
    }

    #[test]
    fn text_rows() {
        let columns = two_columns();
        let mut out = writer(Capabilities::OFFERED, Protocol::Text);
        let mut rows = out.start_rows(&columns).unwrap();
        rows.int(-7);
        rows.bytes(b"xy");
        rows.end_row().unwrap();
        rows.null();
        rows.null();
        rows.end_row().unwrap();
        rows.finish(EndOfRows { status: Status::AUTOCOMMIT, warnings: 3 }).unwrap();
        let payloads = payloads(&mut out);
        assert_eq!(payloads[0], [2]);
        assert_eq!(payloads[3], b"\x02-7\x02xy");
        assert_eq!(payloads[4], [0xfb, 0xfb]);
        assert_eq!(payloads[5], [0xfe, 0, 0, 2, 0, 3, 0]);
    }

    #[test]
    fn clients_without_deprecate_eof_get_eof_packets() {
        let columns = two_columns();
        let mut out = writer(Capabilities::OFFERED.without(Capabilities::DEPRECATE_EOF), Protocol::Text);
        out.start_rows(&columns).unwrap().finish(EndOfRows { status: Status::AUTOCOMMIT, warnings: 1 }).unwrap();
        let payloads = payloads(&mut out);
        assert_eq!(payloads[3], [0xfe, 0, 0, 0, 0]);
        assert_eq!(payloads[4], [0xfe, 1, 0, 2, 0]);
    }

    #[test]
    fn binary_rows() {
        let columns = two_columns();
        let mut out = writer(Capabilities::OFFERED, Protocol::Binary);
        let mut rows = out.start_rows(&columns).unwrap();
        rows.int(-2);
        rows.bytes(b"z");
        rows.end_row().unwrap();
        rows.null();
        rows.int(12);
        rows.end_row().unwrap();
        rows.finish(EndOfRows::default()).unwrap();
        let payloads = payloads(&mut out);
        assert_eq!(payloads[3], [0, 0, 0xfe, 0xff, 1, b'z']);
        assert_eq!(payloads[4], [0, 0b100, 2, b'1', b'2']);
    }

    #[test]
    fn rows_that_do_not_match_are_errors_and_leave_nothing() {
        let columns = two_columns();
        let mut out = writer(Capabilities::OFFERED, Protocol::Binary);
        let mut rows = out.start_rows(&columns).unwrap();
        rows.int(1);
        assert!(rows.end_row().is_err(), "a cell is missing");
        for _ in 0..3 {
            rows.null();
        }
        assert!(rows.end_row().is_err(), "a cell too many");
        rows.bytes(b"abc");
        rows.null();
        assert!(rows.end_row().is_err(), "a string in an integer column");
        rows.int(1);
        rows.bytes(&vec![b'x'; 2 << 20]);
        assert_eq!(rows.end_row().unwrap_err().code, code::ER_NET_PACKET_TOO_LARGE);
        assert_eq!(payloads(&mut out).len(), 3);
    }

    #[test]
    fn a_row_beyond_a_packet_takes_no_more_memory() {
        let columns = ColumnSet::new(vec![ColumnDef::text("c", 3); 64]);
        for protocol in [Protocol::Text, Protocol::Binary] {
            let mut out = writer(Capabilities::OFFERED, protocol);
            let mut rows = out.start_rows(&columns).unwrap();
            for _ in 0..32 {
                rows.bytes_with(|out| out.resize(out.len() + (1 << 20), b'x'));
                rows.raw_with(|out| out.resize(out.len() + (1 << 20), b'x'));
            }
            assert!(rows.out.packets.payload_len() < 4 << 20);
            assert_eq!(rows.end_row().unwrap_err().code, code::ER_NET_PACKET_TOO_LARGE);
        }
    }

    #[test]
    fn an_error_inside_a_row_replaces_the_row() {
        let columns = two_columns();
        let mut out = writer(Capabilities::OFFERED, Protocol::Text);
        let mut rows = out.start_rows(&columns).unwrap();
        rows.int(1);
        out.conclude(Err(MySqlError::interrupted()), ResultCharset::default());
        let payloads = payloads(&mut out);
        assert_eq!(payloads.len(), 4);
        assert!(payloads[3].starts_with(b"\xff\x25\x05#70100"));
    }

    #[test]
    fn results_must_be_announced_and_complete() {
        let mut out = writer(Capabilities::OFFERED, Protocol::Text);
        out.ok(&OkSummary { status: Status::MORE_RESULTS, ..Default::default() }).unwrap();
        out.ok(&OkSummary::default()).unwrap();
        assert!(out.ok(&OkSummary::default()).is_err());
        out.conclude(Ok(()), ResultCharset::default());
        assert_eq!(payloads(&mut out).len(), 2);

        let mut out = writer(Capabilities::OFFERED, Protocol::Text);
        out.conclude(Ok(()), ResultCharset::default());
        assert_eq!(payloads(&mut out)[0][0], 0xff);
    }

    #[test]
    fn ok_with_info_and_tracked_schema() {
        let mut out = writer(Capabilities::OFFERED, Protocol::Text);
        out.ok(&OkSummary { affected_rows: 300, info: "hi", schema: Some("db"), ..Default::default() }).unwrap();
        assert_eq!(payloads(&mut out)[0], b"\x00\xfc\x2c\x01\x00\x00\x40\x00\x00\x02hi\x05\x01\x03\x02db");
        let mut out = writer(Capabilities::OFFERED.without(Capabilities::SESSION_TRACK), Protocol::Text);
        out.ok(&OkSummary { schema: Some("db"), ..Default::default() }).unwrap();
        assert_eq!(payloads(&mut out)[0], [0, 0, 0, 0, 0, 0, 0]);
    }
}
