//! The row format: one column is reached without decoding the others, straight into an Arrow builder.
//!
//! ```text
//! ┌─────────┬───────┬──────────┬────────┬───────────────┬────────────┬─────────────┬────────┐
//! │ version │ flags │ n values │ n null │ ids of values │ ids of null│ end offsets │ values │
//! │  0x01   │  u8   │   u16    │  u16   │ u8|u32 each   │ u8|u32 each│ u16|u32 each│        │
//! └─────────┴───────┴──────────┴────────┴───────────────┴────────────┴─────────────┴────────┘
//! all little endian; both lists of ids ascend; flags: 0x01 = wide (u32 ids and offsets)
//! ```
//! An end offset counts from the start of `values`; a value starts where the one before it ends.
//!
//! | type | bytes of the value |
//! |---|---|
//! | integers, YEAR, BIT, TIME | 1, 2, 4 or 8, the fewest that hold it; signed ones sign-extend |
//! | FLOAT, DOUBLE | 8, IEEE |
//! | DECIMAL | scale, then the integer in the fewest bytes, two's complement |
//! | DATE, DATETIME, TIMESTAMP (UTC) | 8, packed |
//! | strings | as they are |
//!
//! A column id that is in neither list was added after the row was written: it has its default. Columns of an integer
//! clustered key stand only in the row's key; columns of any other clustered key stand in the value too, because a key may
//! have lost case and trailing spaces.

mod decode;
mod encode;

pub use decode::{IndexDecoder, IndexLayout, RowDecoder, ScanColumn, ScanLayout};
pub use encode::{encode_row, encode_stored_value};

const VERSION: u8 = 1;
const FLAG_WIDE: u8 = 1;
const HEADER: usize = 6;
