//! Element types.

/// Element type of a tensor. Weights are floats; integers and booleans (counters, masks) are carried along unchanged.
///
/// Serde and [`Display`](std::fmt::Display) write the name in lower case, as safetensors and users do.
///
/// ```
/// use onebasin_core::DType;
/// assert_eq!(serde_json::to_string(&DType::BF16)?, r#""bf16""#);
/// assert_eq!(serde_json::from_str::<DType>(r#""u32""#)?, DType::U32);
/// assert_eq!(DType::F16.to_string(), "f16");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary64: 53 bits of precision.
    F64,
    /// IEEE 754 binary32: 24 bits of precision.
    F32,
    /// IEEE 754 binary16: 11 bits of precision, up to 65504.
    F16,
    /// The upper half of a binary32: its range with 8 bits of precision.
    BF16,
    /// 4 bits of exponent, 4 bits of precision, up to 448; no infinities (E4M3FN of OCP's 8-bit floats).
    #[serde(rename = "f8_e4m3")]
    F8E4M3,
    /// The upper half of a binary16: its range with 3 bits of precision (E5M2 of OCP's 8-bit floats).
    #[serde(rename = "f8_e5m2")]
    F8E5M2,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 64 bits.
    U64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl DType {
    /// Bytes of one element.
    ///
    /// ```
    /// use onebasin_core::DType;
    /// assert_eq!([DType::F64, DType::BF16, DType::Bool].map(DType::size), [8, 2, 1]);
    /// ```
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether elements are floating-point numbers: what is matched, merged and cast. Everything else is only moved.
    ///
    /// ```
    /// use onebasin_core::DType;
    /// assert!(DType::BF16.is_float() && !DType::I64.is_float());
    /// ```
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2)
    }

    /// The name users write: `f32`, `bf16`, `u32`, `bool`.
    ///
    /// ```
    /// use onebasin_core::DType;
    /// assert_eq!(DType::Bool.name(), "bool");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F8E4M3 => "f8_e4m3",
            Self::F8E5M2 => "f8_e5m2",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
