//! Numbers as serde has them, those that JSON lacks as words: `"NaN"`, `"inf"`, `"-inf"`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Word(String),
}

impl From<&f64> for Number {
    fn from(value: &f64) -> Self {
        if value.is_finite() { Self::Finite(*value) } else { Self::Word(value.to_string()) }
    }
}

impl Number {
    fn value<E: serde::de::Error>(self) -> Result<f64, E> {
        match self {
            Self::Finite(value) => Ok(value),
            Self::Word(word) => {
                word.parse().map_err(|_| E::custom(format!("`{word}` is not a number; write NaN, inf or -inf")))
            }
        }
    }
}

/// `Vec<f64>`.
pub(super) mod list {
    use super::{Deserialize, Deserializer, Number, Serializer};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(Number::from))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Vec::<Number>::deserialize(from)?.into_iter().map(Number::value).collect()
    }
}

/// `Vec<(f64, f64)>`.
pub(super) mod pairs {
    use super::{Deserialize, Deserializer, Number, Serializer};

    pub(crate) fn serialize<S: Serializer>(values: &[(f64, f64)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|(a, b)| (Number::from(a), Number::from(b))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(f64, f64)>, D::Error> {
        let pairs = Vec::<(Number, Number)>::deserialize(from)?;
        pairs.into_iter().map(|(a, b)| Ok((a.value()?, b.value()?))).collect()
    }
}

/// `Option<Vec<(f64, f64)>>`.
pub(super) mod band {
    use super::{Deserialize, Deserializer, Serialize, Serializer, pairs};

    #[derive(Serialize, Deserialize)]
    struct Pairs(#[serde(with = "pairs")] Vec<(f64, f64)>);

    #[allow(clippy::ref_option, reason = "serde hands over the field")]
    pub(crate) fn serialize<S: Serializer>(band: &Option<Vec<(f64, f64)>>, to: S) -> Result<S::Ok, S::Error> {
        band.clone().map(Pairs).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<(f64, f64)>>, D::Error> {
        Ok(Option::<Pairs>::deserialize(from)?.map(|pairs| pairs.0))
    }
}
