//! The values that system variables take.

use super::charset;
use super::variables::{Definition, Kind, SQL_MODE_GROUPS, SQL_MODES, user};
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
        SqlMode => check_sql_mode(value)?,
        Charset if name == "character_set_client" => charset::check_client(value)?,
        Charset => charset::check(value)?,
        Collation => charset::check_collation(value)?,
        TimeZone => Zone::parse(value).ok_or_else(|| Error::unknown_time_zone(value))?.name().into(),
    })
}

/// A list of modes, or their bits as a number; in MySQL's order, each once.
fn check_sql_mode(value: &str) -> Result<Arc<str>, Error> {
    let mut bits = 0u64;
    let mut set = |name: &str| {
        let mode = SQL_MODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        mode.map(|(_, bit)| bits |= 1 << bit).ok_or_else(|| wrong_value("sql_mode", name))
    };
    match value.parse::<u64>() {
        Ok(number) => {
            let known = SQL_MODES.iter().filter(|(_, bit)| number >> bit & 1 == 1);
            known.map(|(name, _)| *name).try_for_each(&mut set)?;
            if number & !bits != 0 {
                return Err(wrong_value("sql_mode", value));
            }
        }
        Err(_) => {
            for name in value.split(',').filter(|name| !name.is_empty()) {
                set(name)?;
                let group = SQL_MODE_GROUPS.iter().find(|(group, _)| group.eq_ignore_ascii_case(name));
                group.map_or(&[][..], |(_, modes)| modes).iter().try_for_each(|mode| set(mode))?;
            }
        }
    }
    let names: Vec<&str> = SQL_MODES.iter().filter(|(_, bit)| bits >> bit & 1 == 1).map(|(name, _)| *name).collect();
    Ok(names.join(",").into())
}
