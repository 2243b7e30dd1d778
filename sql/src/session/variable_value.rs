//! The values that system variables take.

use super::charset;
use super::sql_mode::Modes;
use super::variables::{Definition, Kind, user};
use crate::error::Error;
use Kind::{Bool, Charset, Collation, Enum, Float, Int, SqlMode, Text, TimeZone, UInt};
use basalt_expr::temporal::zone::TimeZone as Zone;
use std::sync::Arc;

fn wrong_value(name: &str, value: &str) -> Error {
    user(1231, "42000", format!("Variable '{name}' can't be set to the value of '{value}'"))
}

/// The text of a value as a variable keeps it.
///
/// # Errors
/// 1231, 1232 and their like for values that it does not take.
pub(super) fn check(definition: &Definition, value: &str) -> Result<Arc<str>, Error> {
    let name = definition.name;
    Ok(match definition.kind {
        Bool => match value.to_ascii_uppercase().as_str() {
            "ON" | "1" | "TRUE" => "ON".into(),
            "OFF" | "0" | "FALSE" => "OFF".into(),
            _ => return Err(wrong_value(name, value)),
        },
        Int(min, max) => {
            let number: i64 = value
                .trim()
                .parse()
                .map_err(|_| user(1232, "42000", format!("Incorrect argument type to variable '{name}'")))?;
            if min == max && number != min {
                // There is no other value that would have an effect.
                return Err(wrong_value(name, value));
            }
            number.clamp(min, max).to_string().into()
        }
        // What is below zero is zero.
        UInt => {
            let number: i128 = value
                .trim()
                .parse()
                .map_err(|_| user(1232, "42000", format!("Incorrect argument type to variable '{name}'")))?;
            number.clamp(0, i128::from(u64::MAX)).to_string().into()
        }
        Float => {
            let number: f64 = value
                .trim()
                .parse()
                .map_err(|_| user(1232, "42000", format!("Incorrect argument type to variable '{name}'")))?;
            if number < 0.0 {
                return Err(wrong_value(name, value));
            }
            value.trim().into()
        }
        Text => value.into(),
        Enum(_) if name == "lc_time_names" && !value.eq_ignore_ascii_case("en_US") => {
            let is_known = basalt_expr::func::is_locale(value);
            return Err(match is_known {
                true => Error::unsupported(format!("lc_time_names = '{value}'")),
                false => Error::unknown_locale(value),
            });
        }
        Enum(allowed) => allowed
            .iter()
            .find(|a| a.eq_ignore_ascii_case(value))
            .map(|a| Arc::from(*a))
            .ok_or_else(|| wrong_value(name, value))?,
        SqlMode => Modes::parse(value)?.to_string().into(),
        Charset if name == "character_set_client" => charset::check_client(value)?,
        Charset => charset::check(value)?,
        Collation => charset::check_collation(value)?,
        TimeZone => Zone::parse(value).ok_or_else(|| Error::unknown_time_zone(value))?.name().into(),
    })
}
