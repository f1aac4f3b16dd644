//! Times, durations and field masks between their JSON text and their fields.

use std::fmt::Write as _;

/// Seconds of 0001-01-01T00:00:00Z and of 9999-12-31T23:59:59Z.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Seconds of a duration: about 10,000 years either way.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// Seconds and nanoseconds, as Timestamp and Duration both have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Instant {
    /// Field 1.
    pub seconds: i64,
    /// Field 2.
    pub nanos: i32,
}

/// Reads RFC 3339 (`2026-01-31T10:00:00.5+01:00`). `None` when it is none, or outside years 1 to 9999.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<Instant> {
    let (date, time) = text.split_once('T')?;
    let days = parse_date(date)?;
    let zone_at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let offset = parse_zone(zone)?;
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, fraction)| (clock, Some(fraction)));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = fraction.map_or(Some(0), parse_fraction)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    TIMESTAMP_SECONDS.contains(&seconds).then_some(Instant { seconds, nanos })
}

fn parse_date(date: &str) -> Option<i64> {
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (year >= 1 && (1..=length).contains(&day)).then(|| days_from_civil(year, month, day))
}

fn parse_zone(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let [hour, minute] = numbers(zone.get(1..)?, ':', [2, 2])?;
    (hour <= 23 && minute <= 59).then_some(sign * (hour * 3600 + minute * 60))
}

/// Exactly N numbers of these widths.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut out = [0; N];
    for (slot, width) in out.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn parse_fraction(digits: &str) -> Option<i32> {
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = 10i32.pow(u32::try_from(9 - digits.len()).ok()?);
    digits.parse::<i32>().ok()?.checked_mul(scale)
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Writes RFC 3339 in UTC with 0, 3, 6 or 9 digits. `None` when it is outside years 1 to 9999.
#[must_use]
pub fn print_timestamp(instant: Instant) -> Option<String> {
    if !TIMESTAMP_SECONDS.contains(&instant.seconds) || !(0..NANOS_PER_SECOND).contains(&instant.nanos) {
        return None;
    }
    let days = instant.seconds.div_euclid(86_400) + 719_468;
    let second = instant.seconds.rem_euclid(86_400);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut out = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    print_fraction(&mut out, instant.nanos);
    out.push('Z');
    Some(out)
}

fn print_fraction(out: &mut String, nanos: i32) {
    // Writing to a String cannot fail.
    let _ = match nanos.unsigned_abs() {
        0 => Ok(()),
        nanos if nanos % 1_000_000 == 0 => write!(out, ".{:03}", nanos / 1_000_000),
        nanos if nanos % 1000 == 0 => write!(out, ".{:06}", nanos / 1000),
        nanos => write!(out, ".{nanos:09}"),
    };
}

/// Reads a duration (`-1.5s`). `None` when it is none, or beyond 10,000 years.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Instant> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (seconds, fraction) = text.split_once('.').map_or((text, None), |(seconds, fraction)| (seconds, Some(fraction)));
    if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds <= DURATION_SECONDS_MAX)?;
    let nanos = fraction.map_or(Some(0), parse_fraction)?;
    Some(Instant { seconds: i64::from(sign) * seconds, nanos: sign * nanos })
}

/// Writes a duration with 0, 3, 6 or 9 digits. `None` when it is out of range or its signs differ.
#[must_use]
pub fn print_duration(duration: Instant) -> Option<String> {
    let Instant { seconds, nanos } = duration;
    let signs_differ = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if seconds.unsigned_abs() > DURATION_SECONDS_MAX.unsigned_abs()
        || nanos.unsigned_abs() >= NANOS_PER_SECOND.unsigned_abs()
        || signs_differ
    {
        return None;
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let mut out = format!("{sign}{}", seconds.unsigned_abs());
    print_fraction(&mut out, nanos);
    out.push('s');
    Some(out)
}

/// The path of a field mask from its JSON form: `unitPrice.nanos` to `unit_price.nanos`. `None` when it has an underscore.
#[must_use]
pub fn parse_mask_path(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 4);
    for letter in text.chars() {
        match letter {
            '_' => return None,
            'A'..='Z' => out.extend(['_', letter.to_ascii_lowercase()]),
            _ => out.push(letter),
        }
    }
    Some(out)
}

/// The JSON form of a field mask's path. `None` when reading it back would give another path.
#[must_use]
pub fn print_mask_path(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '_' => match letters.next() {
                Some(next @ 'a'..='z') => out.push(next.to_ascii_uppercase()),
                _ => return None,
            },
            'A'..='Z' => return None,
            _ => out.push(letter),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0),
            ("9999-12-31T23:59:59.999999999Z", 253_402_300_799, 999_999_999),
            ("2024-02-29T12:30:00.500Z", 1_709_209_800, 500_000_000),
            ("1969-12-31T23:59:59.000001Z", -1, 1000),
        ] {
            let instant = Instant { seconds, nanos };
            assert_eq!(parse_timestamp(text), Some(instant), "{text}");
            assert_eq!(print_timestamp(instant).as_deref(), Some(text));
        }
        assert_eq!(parse_timestamp("1970-01-01T01:00:00+01:00"), Some(Instant::default()));
        assert_eq!(parse_timestamp("1969-12-31T22:30:00-01:30"), Some(Instant::default()));
    }

    #[test]
    fn strange_timestamps_are_none() {
        for text in [
            "",
            "T",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-1-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "2024-01-01T00:00:00+0100",
            "0001-01-01T00:00:00+00:01",
            "2024-01-01T00:00:00ZZ",
            "é024-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn durations_round_trip() {
        for (text, seconds, nanos) in
            [("0s", 0, 0), ("1.500s", 1, 500_000_000), ("-0.000000001s", 0, -1), ("-315576000000s", -315_576_000_000, 0)]
        {
            let duration = Instant { seconds, nanos };
            assert_eq!(parse_duration(text), Some(duration), "{text}");
            assert_eq!(print_duration(duration).as_deref(), Some(text));
        }
        for text in ["", "s", "1", "1.s", ".5s", "1e3s", "+1s", "315576000001s", "--1s", "1.0000000001s", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(print_duration(Instant { seconds: 1, nanos: -1 }), None);
    }

    #[test]
    fn mask_paths_round_trip() {
        assert_eq!(parse_mask_path("unitPrice.nanos").as_deref(), Some("unit_price.nanos"));
        assert_eq!(print_mask_path("unit_price.nanos").as_deref(), Some("unitPrice.nanos"));
        assert_eq!(parse_mask_path("unit_price"), None);
        assert_eq!(print_mask_path("unit__price"), None);
    }
}
