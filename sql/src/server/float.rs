//! Floating point as text.

/// Appends the shortest text that reads back as the same FLOAT.
pub(super) fn put_f32(out: &mut Vec<u8>, value: f32) {
    put_shortest(out, ryu::Buffer::new().format(value));
}

/// Appends the shortest text that reads back as the same DOUBLE.
pub(super) fn put_f64(out: &mut Vec<u8>, value: f64) {
    put_shortest(out, ryu::Buffer::new().format(value));
}

fn put_shortest(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
}
