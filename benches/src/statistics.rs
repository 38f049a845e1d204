//! Order statistics of a few samples: times have a long tail, so no means.

/// Five numbers say more than one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) q1: f64,
    pub(crate) median: f64,
    pub(crate) q3: f64,
}

impl Summary {
    /// None without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            q1: quantile(&sorted, 0.25)?,
            median: quantile(&sorted, 0.5)?,
            q3: quantile(&sorted, 0.75)?,
        })
    }
}

/// Between the two samples nearest to that part of the way, in proportion (type 7 of Hyndman and Fan).
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = part * sorted.len().checked_sub(1)? as f64;
    let below = place.floor();
    let low = *sorted.get(below as usize)?;
    let high = *sorted.get(place.ceil() as usize)?;
    Some(low + (high - low) * (place - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn one_sample_is_everything() {
        assert_eq!(Summary::of(&[7.0]), Some(Summary { min: 7.0, q1: 7.0, median: 7.0, q3: 7.0 }));
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        let expected = Some(Summary { min: 1.0, q1: 2.0, median: 3.0, q3: 4.0 });
        assert_eq!(Summary::of(&[5.0, 1.0, 4.0, 2.0, 3.0]), expected);
    }

    #[test]
    fn an_even_number_is_interpolated() {
        let expected = Some(Summary { min: 1.0, q1: 1.75, median: 2.5, q3: 3.25 });
        assert_eq!(Summary::of(&[4.0, 3.0, 2.0, 1.0]), expected);
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let summary = Summary::of(&[1.0, 1.0, 1.0, 1.0, 900.0]).expect("samples");
        assert_eq!((summary.median, summary.q3), (1.0, 1.0));
    }
}
