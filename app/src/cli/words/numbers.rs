//! Numbers of the command line: how people write them, and their bounds.
//!
//! Knows no flag's meaning beyond its range.

/// `--size`: width and height in points.
pub(in crate::cli) fn size(text: &str) -> Result<[u16; 2], String> {
    let side = |text: &str| {
        let side = text.parse::<u16>().ok();
        side.filter(|side| (200..=4000).contains(side))
    };
    text.split_once('x')
        .and_then(|(width, height)| Some([side(width)?, side(height)?]))
        .ok_or_else(|| {
            "a size is width x height in points, 200 to 4000 each, such as 1400x900".to_owned()
        })
}

/// `--scale`: pixels of a point.
pub(in crate::cli) fn scale(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.5..=4.0).contains(&value) => Ok(value),
        _ => Err("a scale is a number from 0.5 to 4, such as 1.5".to_owned()),
    }
}

/// A number above 0.
pub(in crate::cli) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok();
    rate.filter(|rate| *rate > 0.0 && rate.is_finite())
        .ok_or_else(|| "write a number above 0, such as 0.001 or 1e-3".to_owned())
}

/// A number of 0 or more.
pub(in crate::cli) fn teacher_weight(text: &str) -> Result<f64, String> {
    let weight = text.parse::<f64>().ok();
    weight
        .filter(|weight| *weight >= 0.0 && weight.is_finite())
        .ok_or_else(|| "write a number of 0 or more".to_owned())
}

/// `--heads`, `--neurons`: a share.
pub(in crate::cli) fn share(text: &str) -> Result<f64, String> {
    sparsity(text).map_err(|_| "must be a share from 0 to 1, such as 0.25".to_owned())
}

/// `--damping`: a share of the mean diagonal.
pub(in crate::cli) fn damping(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("damping is a number of 0 or more, such as 0.01".to_owned()),
    }
}

/// `--smooth`.
pub(in crate::cli) fn smooth(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // Adding 0 turns a minus zero into a plain one.
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value + 0.0),
        _ => Err("smooth is a number from 0 (off) to 1, such as 0.5".to_owned()),
    }
}

/// `--sparsity`.
pub(in crate::cli) fn sparsity(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // Adding 0 turns a minus zero into a plain one.
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value + 0.0),
        _ => Err("sparsity is the share of zeros, a number from 0 to 1 such as 0.5".to_owned()),
    }
}

/// `--temperature`: 0 is greedy.
pub(in crate::cli) fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("temperature is a number of 0 or more; 0 takes the likeliest token".to_owned()),
    }
}

/// `--top-p`: above 0, at most 1.
pub(in crate::cli) fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("a probability is a number above 0 and at most 1, such as 0.9".to_owned()),
    }
}

/// `--bits-per-weight`.
pub(in crate::cli) fn bits_per_weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("bits per weight are a number above 0, such as 4.25".to_owned()),
    }
}

/// `--latency-ms`.
pub(in crate::cli) fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("write milliseconds above 0, such as 20 or 0.5".to_owned()),
    }
}

/// A count of at least one.
pub(in crate::cli) fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(value) if value > 0 => Ok(value),
        _ => Err("a whole number of 1 or more is needed".to_owned()),
    }
}

/// `--memory` and `--bytes`: plain bytes, or a number with kB, MB, GB, TB (thousands) or KiB, MiB, GiB, TiB (1024s).
pub(in crate::cli) fn bytes(text: &str) -> Result<u64, String> {
    let wrong =
        || "a size is a number with or without a unit, such as 2GB, 512MiB or 1000000".to_owned();
    let text = text.trim();
    let split = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let multiple = unit_bytes(unit.trim()).ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let value = number * multiple as f64;
    if value >= 1.0 && value < u64::MAX as f64 {
        Ok(value as u64)
    } else {
        Err(wrong())
    }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000_u64.pow(2),
        "g" | "gb" => 1000_u64.pow(3),
        "t" | "tb" => 1000_u64.pow(4),
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        let cases = [
            ("1000000", Ok(1_000_000)),
            ("2GB", Ok(2_000_000_000)),
            ("512MiB", Ok(536_870_912)),
            ("1.5 GiB", Ok(1_610_612_736)),
            ("64k", Ok(64_000)),
            ("0", Err(())),
            ("-1", Err(())),
            ("GB", Err(())),
            ("2 parsecs", Err(())),
            ("1e40", Err(())),
            ("", Err(())),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text).map_err(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_of_windows_are_width_and_height() {
        assert_eq!(size("1400x900"), Ok([1400, 900]));
        for text in ["1400", "1400x", "x900", "100x900", "5000x900", "axb", ""] {
            assert!(size(text).is_err(), "{text:?}");
        }
        for (text, good) in [("1", true), ("1.5", true), ("0", false), ("nan", false)] {
            assert_eq!(scale(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(damping("-0.1").is_err() && damping("nan").is_err() && damping("0").is_ok());
        assert!(temperature("inf").is_err() && temperature("0.8").is_ok());
        assert!(probability("0").is_err() && probability("1.01").is_err());
        assert!(probability("nan").is_err() && probability("1").is_ok());
        assert!(count("0").is_err() && count("1").is_ok() && count("x").is_err());
    }

    #[test]
    fn shares_of_zeros_lie_between_none_and_all() {
        for text in ["0", "0.5", "1"] {
            assert!(sparsity(text).is_ok(), "{text}");
        }
        for text in ["-0.1", "1.01", "50%", "nan", ""] {
            assert!(sparsity(text).is_err(), "{text}");
        }
    }
}
