//! The proleptic Gregorian calendar, counted in days.

/// True for leap years.
pub fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days of a month, 1 to 12; 0 for other months.
pub fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(is_leap(year)),
        _ => 0,
    }
}

/// Days from 0000-01-01 to a date.
pub fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    // Years that begin in March: the leap day is the last of its year.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 0000-03-01 is day 60 after 0000-01-01: year 0 is a leap year.
    era * 146_097 + day_of_era + 60
}

/// The date `days` after 0000-01-01; `None` outside of the years 0 to 9999.
pub fn civil_from_days(days: i64) -> Option<(u32, u32, u32)> {
    if !(0..=3_652_424).contains(&days) {
        return None;
    }
    let shifted = days - 60;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some((year as u32, month as u32, day as u32))
}

/// `TO_DAYS`: MySQL counts 0000-01-01 as day 1 and takes year 0 for a common year.
pub fn to_days(year: u32, month: u32, day: u32) -> i64 {
    let days = days_from_civil(year, month, day);
    // From March of year 0 on the leap day that MySQL does not count is behind.
    if year == 0 && month <= 2 { days + 1 } else { days }
}

/// `FROM_DAYS`, the inverse of [`to_days`] from 0000-01-01 on.
pub fn from_days(days: i64) -> Option<(u32, u32, u32)> {
    // The leap day of year 0 has no number.
    const MARCH: i64 = 60;
    match days {
        ..1 => None,
        1..MARCH => civil_from_days(days - 1),
        _ => civil_from_days(days),
    }
}

/// Monday is 0.
pub fn weekday(year: u32, month: u32, day: u32) -> u32 {
    // 0000-01-01 was a Saturday.
    (days_from_civil(year, month, day) + 5).rem_euclid(7) as u32
}

/// Day of the year from 1.
pub fn day_of_year(year: u32, month: u32, day: u32) -> u32 {
    (days_from_civil(year, month, day) - days_from_civil(year, 1, 1) + 1) as u32
}

/// `WEEK(date, mode)` and the year that the week belongs to (`YEARWEEK` always counts from 1: mode | 2).
pub fn week(year: u32, month: u32, day: u32, mode: u32) -> (u32, u32) {
    let mode = mode & 7;
    let monday_first = mode & 1 != 0;
    let mut week_year = mode & 2 != 0;
    // Bit 2 says "the first week has at least 4 days" when Monday is first, and the opposite when Sunday is.
    let first_weekday = (mode & 4 != 0) != monday_first;
    let first_weekday = !first_weekday;
    let today = days_from_civil(year, month, day);
    let mut year = year;
    let mut first_day = days_from_civil(year, 1, 1);
    let shift = |days: i64| if monday_first { (days + 5).rem_euclid(7) } else { (days + 6).rem_euclid(7) };
    let mut start_weekday = shift(first_day);
    let starts_before = |weekday: i64| if first_weekday { weekday != 0 } else { weekday >= 4 };
    if month == 1 && i64::from(day) <= 7 - start_weekday {
        if !week_year && starts_before(start_weekday) {
            return (year, 0);
        }
        if starts_before(start_weekday) {
            week_year = true;
            year = year.saturating_sub(1);
            let days = 365 + i64::from(is_leap(year));
            first_day -= days;
            start_weekday = (start_weekday + 53 * 7 - days).rem_euclid(7);
        }
    }
    let days = if starts_before(start_weekday) {
        today - (first_day + 7 - start_weekday)
    } else {
        today - (first_day - start_weekday)
    };
    if week_year && days >= 52 * 7 {
        let next = (start_weekday + 365 + i64::from(is_leap(year))).rem_euclid(7);
        if !starts_before(next) {
            return (year + 1, 1);
        }
    }
    (year, (days.div_euclid(7) + 1) as u32)
}

/// Names of the months, January first.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Names of the days, Monday first.
pub const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        for days in (0..3_652_425).step_by(97) {
            let (y, m, d) = civil_from_days(days).unwrap();
            assert_eq!(days_from_civil(y, m, d), days);
        }
        assert_eq!(civil_from_days(0), Some((0, 1, 1)));
        assert_eq!(civil_from_days(3_652_424), Some((9999, 12, 31)));
        assert_eq!(to_days(2007, 10, 7), 733_321);
        assert_eq!(to_days(1970, 1, 1), 719_528);
        assert_eq!(weekday(2007, 10, 7), 6);
    }

    #[test]
    fn weeks_are_mysqls() {
        assert_eq!(week(2008, 2, 20, 0), (2008, 7));
        assert_eq!(week(2008, 2, 20, 1), (2008, 8));
        assert_eq!(week(2008, 12, 31, 1), (2008, 53));
        assert_eq!(week(2000, 1, 1, 0).1, 0);
        assert_eq!(week(2000, 1, 1, 2), (1999, 52));
        assert_eq!(week(1987, 1, 1, 2), (1986, 52));
        assert_eq!(week(2024, 12, 30, 3), (2025, 1));
        // Day 0 is the one before the first.
        assert_eq!([0, 1, 2, 3].map(|mode| week(2020, 1, 0, mode).1), [0, 1, 52, 1]);
        assert_eq!([0, 1, 2, 3].map(|mode| week(2020, 3, 0, mode).1), [8, 9, 8, 9]);
        assert_eq!([weekday(2020, 0, 0), weekday(2020, 3, 0), weekday(2020, 0, 5)], [5, 5, 3]);
        assert_eq!([day_of_year(2020, 1, 0), day_of_year(2020, 3, 0)], [0, 60]);
    }
}
