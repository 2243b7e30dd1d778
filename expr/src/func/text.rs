//! Strings, part two: codes, numbers as text, lists in strings.

use super::Func;
use super::collations::{as_bytes, join_collations, unify_collations};
use super::infer::common_type_of;
use super::math::round_double;
use super::spec::{Arg, Call, MANY, Ret, Spec, text_result};
use super::string::{TEXT_COLLATION, bytes};
use crate::cast::{to_bits, to_decimal};
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Func::*;
    const TEXT: &[Arg] = &[Arg::Text];
    const ANY: &[Arg] = &[Arg::Any];
    const BYTES: &[Arg] = &[Arg::Bytes];
    Some(match func {
        Hex => Spec::new(1, 1, ANY, Ret::Custom(type_hex), hex).total(),
        Unhex => Spec::new(1, 1, TEXT, Ret::Custom(type_unhex), unhex),
        Ascii => Spec::new(1, 1, BYTES, Ret::Int, code).total(),
        Ord => Spec::new(1, 1, BYTES, Ret::Int, code).total(),
        Char => Spec::new(1, MANY, &[Arg::Int], Ret::Custom(type_char), char).sees_null(),
        Field => Spec::new(2, MANY, ANY, Ret::Custom(type_field), field).sees_null(),
        Elt => Spec::new(2, MANY, &[Arg::Int, Arg::Text], Ret::Joined, elt).sees_null(),
        FindInSet => Spec::new(2, 2, TEXT, Ret::Custom(type_find), find_in_set).total(),
        MakeSet => Spec::new(2, MANY, &[Arg::Int, Arg::Text], Ret::Joined, make_set).sees_null(),
        ExportSet => {
            const ARGS: &[Arg] = &[Arg::Int, Arg::Text, Arg::Text, Arg::Text, Arg::Int];
            Spec::new(3, 5, ARGS, Ret::Custom(type_export_set), export_set).total()
        }
        Soundex => Spec::new(1, 1, TEXT, Ret::Custom(type_soundex), soundex).total(),
        Format => Spec::new(2, 3, &[Arg::Number, Arg::Int, Arg::Text], Ret::Text(100), format).sees_null().total(),
        Quote => Spec::new(1, 1, TEXT, Ret::Custom(type_quote), quote).sees_null(),
        _ => return None,
    })
}

fn type_hex(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let (width, is_text) = (args[0].ty().display_width(), args[0].ty().is_string());
    let char_bytes_max = if is_text { args[0].ty().collation.character_set().char_bytes_max() } else { 4 };
    args[0] = as_bytes(std::mem::replace(&mut args[0], Expr::null()));
    Ok(text_result(width.saturating_mul(2 * char_bytes_max), TEXT_COLLATION))
}

fn type_unhex(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width().div_ceil(2), Collation::Binary))
}

fn type_char(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::varbinary(4 * args.len() as u32))
}

fn type_quote(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width().saturating_mul(2).saturating_add(2), args[0].ty().collation))
}

fn type_export_set(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let texts = args.len().min(4);
    let collation = join_collations(&mut args[1..texts], "export_set")?;
    let width = |at: usize| args.get(at).map_or(1, |arg| arg.ty().display_width());
    let each = width(1).max(width(2)).saturating_add(width(3));
    Ok(text_result(each.saturating_mul(SET_BITS), collation))
}

fn type_soundex(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width().max(SOUNDEX_LETTERS as u32), args[0].ty().collation))
}

fn type_find(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify_collations(args, "find_in_set")?;
    Ok(FieldType::bigint())
}

/// Strings compare as strings, numbers as numbers, a mixture as doubles.
fn type_field(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    // Dates and times are texts here, as long as no number is among them.
    if args.iter().all(|a| a.ty().is_string() || a.ty().is_temporal()) {
        for arg in args.iter_mut() {
            *arg = super::spec::coerce(std::mem::replace(arg, Expr::null()), Arg::Text);
        }
        join_collations(args, "field")?;
    } else if !args.iter().all(|a| a.ty().is_numeric()) {
        for arg in args.iter_mut() {
            *arg = super::spec::coerce(std::mem::replace(arg, Expr::null()), Arg::Real);
        }
    }
    common_type_of(&args.iter().collect::<Vec<_>>())?;
    Ok(FieldType::bigint().required())
}

fn hex(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let text = match args[0].as_bytes() {
        Some(bytes) => {
            call.check_length(bytes.len() * 2)?;
            bytes.iter().map(|b| format!("{b:02X}")).collect::<String>()
        }
        None if args[0].as_i128().is_some() || !call.types[0].is_temporal() => {
            format!("{:X}", to_bits(&args[0], call.ctx)?)
        }
        None => crate::cast::to_text(&args[0], call.types[0]).iter().map(|b| format!("{b:02X}")).collect(),
    };
    Ok(Value::from(text))
}

fn unhex(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let digits = bytes(&args[0]);
    let nibble = |b: &u8| (*b as char).to_digit(16).map(|d| d as u8);
    let values: Option<Vec<u8>> = digits.iter().map(nibble).collect();
    let Some(mut values) = values else { return Ok(Value::Null) };
    if values.len() % 2 == 1 {
        values.insert(0, 0);
    }
    Ok(Value::from(values.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>()))
}

fn code(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let all = bytes(&args[0]);
    let first = match &args[0] {
        Value::String(text) if call.func == Func::Ord => text.chars().next().map_or(0, char::len_utf8),
        _ => all.len().min(1),
    };
    Ok(Value::Int(all[..first].iter().fold(0, |code, b| code << 8 | i64::from(*b))))
}

fn char(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let mut out = Vec::new();
    for value in args.iter().filter(|v| !v.is_null()) {
        let code = to_bits(value, call.ctx)? as u32;
        let encoded = code.to_be_bytes();
        let skip = encoded.iter().take_while(|b| **b == 0).count().min(3);
        out.extend_from_slice(&encoded[skip..]);
    }
    Ok(Value::from(out))
}

fn field(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[0].is_null() {
        return Ok(Value::Int(0));
    }
    let equal = |v: &Value| super::compare(&args[0], v, call.types[0]).is_eq();
    Ok(Value::Int(args[1..].iter().position(equal).map_or(0, |at| at as i64 + 1)))
}

fn elt(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let index = args[0].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let found = if index == 0 { None } else { args.get(index).and_then(Value::as_bytes) };
    Ok(found.map_or(Value::Null, |text| call.text(text.to_vec())))
}

fn find_in_set(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (wanted, set) = (bytes(&args[0]), bytes(&args[1]));
    if set.is_empty() || wanted.contains(&b',') {
        return Ok(Value::Int(0));
    }
    let collation = call.collation(0);
    // Spaces at the end count here in every collation.
    let spaces = |text: &[u8]| text.iter().rev().take_while(|b| **b == b' ').count();
    let same = |item: &[u8]| collation.compare(item, wanted).is_eq() && spaces(item) == spaces(wanted);
    let found = set.split(|b| *b == b',').position(same);
    Ok(Value::Int(found.map_or(0, |at| at as i64 + 1)))
}

fn make_set(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[0].is_null() {
        return Ok(Value::Null);
    }
    let bits = to_bits(&args[0], call.ctx)?;
    let chosen =
        args[1..].iter().take(SET_BITS as usize).enumerate().filter(|(at, v)| bits >> at & 1 == 1 && !v.is_null());
    let chosen: Vec<&[u8]> = chosen.map(|(_, v)| bytes(v)).collect();
    call.check_length(chosen.iter().map(|text| text.len() + 1).sum())?;
    Ok(call.text(chosen.join(&b","[..])))
}

/// Bits that MAKE_SET and EXPORT_SET look at.
const SET_BITS: u32 = 64;

/// One of two texts for each bit, the lowest first.
fn export_set(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let bits = to_bits(&args[0], call.ctx)?;
    let separator = args.get(3).map_or(&b","[..], bytes);
    // A count that is negative is a large one.
    let count = args
        .get(4)
        .map_or(SET_BITS, |count| u32::try_from(count.as_i64().unwrap_or(0)).unwrap_or(SET_BITS).min(SET_BITS));
    let parts: Vec<&[u8]> = (0..count).map(|bit| bytes(&args[if bits >> bit & 1 == 1 { 1 } else { 2 }])).collect();
    call.check_length(parts.iter().map(|part| part.len() + separator.len()).sum())?;
    Ok(call.text(parts.join(separator)))
}

/// Letters that a SOUNDEX has at least.
const SOUNDEX_LETTERS: usize = 4;

/// The first letter, and the digit of each letter behind it that sounds otherwise than the last that had one. Every letter
/// that is not English counts as a vowel, which has none.
fn soundex(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    const DIGITS: &[u8; 26] = b"01230120022455012623010202";
    let digit = |letter: char| match letter.to_ascii_uppercase() {
        english @ 'A'..='Z' => DIGITS[english as usize - 'A' as usize],
        _ => b'0',
    };
    let is_letter = |c: &char| c.is_ascii_alphabetic() || *c >= '\u{C0}';
    let text = match &args[0] {
        Value::String(text) => std::borrow::Cow::from(&**text),
        // A binary string has English letters only.
        other => bytes(other).iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { ' ' }).collect(),
    };
    let mut letters = text.chars().filter(is_letter);
    let Some(first) = letters.next() else { return Ok(call.text(Vec::new())) };
    let mut out = String::from(first.to_ascii_uppercase());
    let (mut count, mut last) = (1, digit(first));
    for next in letters.map(digit) {
        if next != b'0' && next != last {
            out.push(char::from(next));
            (count, last) = (count + 1, next);
        }
    }
    out.extend(std::iter::repeat_n('0', SOUNDEX_LETTERS.saturating_sub(count)));
    Ok(call.text(out.into_bytes()))
}

fn format(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[0].is_null() || args[1].is_null() {
        return Ok(Value::Null);
    }
    let digits = args[1].as_i128().unwrap_or(0).clamp(0, 30) as u8;
    let text = match &args[0] {
        Value::Double(number) => fixed(*number, digits),
        number => {
            let rounded = to_decimal(number, call.ctx)?.round(i64::from(digits)).and_then(|d| d.rescale(digits));
            rounded.ok_or_else(|| call.out_of_range(args))?.to_string()
        }
    };
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let locale = match args.get(2) {
        Some(name) => numbers_of(name, call.ctx),
        None => Numbers::ENGLISH,
    };
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && locale.separates(whole.len() - at) {
            out.extend(locale.thousands);
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push(locale.point);
        out.push_str(fraction);
    }
    Ok(Value::from(out))
}

/// A double rounded half to even, with so many digits behind the point: zeros behind those that tell it from its neighbors.
fn fixed(number: f64, digits: u8) -> String {
    let digits = usize::from(digits);
    let rounded = round_double(number, digits as i32, false);
    let mut text = rounded.to_string();
    let written = text.find('.').map_or(0, |point| text.len() - point - 1);
    if written > digits {
        return format!("{rounded:.digits$}");
    }
    if written == 0 && digits > 0 {
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', digits - written));
    text
}

/// How a locale writes numbers.
#[derive(Clone, Copy)]
struct Numbers {
    point: char,
    thousands: Option<char>,
    /// Groups above the thousands have two digits.
    is_indian: bool,
}

impl Numbers {
    const ENGLISH: Numbers = Numbers { point: '.', thousands: Some(','), is_indian: false };

    /// Whether a separator stands before the last `digits`.
    fn separates(self, digits: usize) -> bool {
        match self.is_indian {
            true => digits == 3 || digits > 3 && (digits - 3).is_multiple_of(2),
            false => digits.is_multiple_of(3),
        }
    }
}

/// The locale of a name; English for one that MySQL does not know, with a warning.
fn numbers_of(name: &Value, ctx: &crate::context::EvalContext) -> Numbers {
    let text = if name.is_null() { "NULL".to_string() } else { crate::cast::display(name) };
    numbers_of_name(&text).unwrap_or_else(|| {
        ctx.warnings.push(UNKNOWN_LOCALE, format!("Unknown locale: '{text}'"));
        Numbers::ENGLISH
    })
}

/// Whether MySQL has a locale of this name.
pub fn is_locale(name: &str) -> bool {
    numbers_of_name(name).is_some()
}

fn numbers_of_name(name: &str) -> Option<Numbers> {
    let comma = |thousands| Numbers { point: ',', thousands, is_indian: false };
    Some(match name.to_ascii_lowercase().as_str() {
        "fr_fr" | "ca_es" | "de_at" | "el_gr" | "eu_es" | "fr_be" | "fr_ca" | "fr_ch" | "fr_lu" | "gl_es" | "hr_hr"
        | "it_it" | "nl_be" | "nl_nl" | "pl_pl" | "pt_br" | "pt_pt" | "sl_si" => comma(None),
        "sv_se" | "cs_cz" | "es_cr" | "et_ee" | "fi_fi" | "lv_lv" | "mk_mk" | "ru_ru" | "sk_sk" | "sv_fi" => {
            comma(Some(' '))
        }
        "de_de" | "be_by" | "da_dk" | "nb_no" | "de_be" | "de_lu" | "es_ar" | "es_bo" | "es_cl" | "es_co" | "es_ec"
        | "es_es" | "es_py" | "es_uy" | "es_ve" | "fo_fo" | "hu_hu" | "id_id" | "is_is" | "lt_lt" | "mn_mn"
        | "no_no" | "ro_ro" | "ru_ua" | "sq_al" | "tr_tr" | "uk_ua" | "vi_vn" => comma(Some('.')),
        "it_ch" | "rm_ch" => comma(Some('\'')),
        "bg_bg" => comma(Some('\0')),
        "de_ch" => Numbers { thousands: Some('\''), ..Numbers::ENGLISH },
        "ar_sa" | "sr_rs" => Numbers { thousands: None, ..Numbers::ENGLISH },
        "en_in" | "ta_in" | "te_in" => Numbers { is_indian: true, ..Numbers::ENGLISH },
        known if ENGLISH_NUMBERS.contains(&known) => Numbers::ENGLISH,
        _ => return None,
    })
}

const UNKNOWN_LOCALE: u16 = 1649;

/// Locales that write numbers as English does.
const ENGLISH_NUMBERS: &[&str] = &[
    "en_us", "en_gb", "ja_jp", "ar_ae", "ar_bh", "ar_jo", "ar_sy", "en_au", "en_ca", "en_nz", "en_ph", "en_za",
    "en_zw", "es_do", "es_gt", "es_hn", "es_mx", "es_ni", "es_pa", "es_pe", "es_pr", "es_sv", "es_us", "gu_in",
    "he_il", "hi_in", "ko_kr", "ms_my", "th_th", "ur_pk", "zh_cn", "zh_hk", "zh_tw", "ar_dz", "ar_eg", "ar_in",
    "ar_iq", "ar_kw", "ar_lb", "ar_ly", "ar_ma", "ar_om", "ar_qa", "ar_sd", "ar_tn", "ar_ye",
];

fn quote(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[0].is_null() {
        return Ok(call.text(b"NULL".to_vec()));
    }
    let mut out = vec![b'\''];
    for &byte in bytes(&args[0]) {
        match byte {
            b'\'' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0 => out.extend_from_slice(b"\\0"),
            0x1a => out.extend_from_slice(b"\\Z"),
            _ => out.push(byte),
        }
    }
    out.push(b'\'');
    call.check_length(out.len())?;
    Ok(call.text(out))
}
