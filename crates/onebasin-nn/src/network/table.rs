//! The table of built-in networks: it reads names, and lists what is known.

use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::nearest;

use super::layers::Norm;
use super::{MAX_UNITS, fail, mlp, resnet, vgg};
use crate::error::{Error, Result};

/// Reads a name, cut at the colon; `None` if it is of another family.
type Read = fn(&str, Option<&str>) -> Option<Result<Architecture, String>>;

/// A family of built-in networks.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Names of its members, each of which can be asked for.
    pub names: &'static [&'static str],
    /// What they are.
    pub what: &'static str,
    /// Where they are from.
    pub reference: &'static str,
    read: Read,
}

/// Every family of built-in networks.
///
/// ```
/// use onebasin_nn::network::known;
/// assert!(known().iter().any(|family| family.names.contains(&"vgg16-bn")));
/// ```
pub fn known() -> &'static [Builtin] {
    &TABLE
}

const TABLE: [Builtin; 8] = [
    Builtin {
        names: &["mlp:512x3", "mlp:400-200-100", "mlp-nobias:512x3"],
        what: "hidden ReLU layers, three of 512 or one for every number; `-nobias` without biases",
        reference: "Ainsworth et al. 2023, section 5",
        read: |family, argument| {
            let sizes = || argument.ok_or_else(|| "the sizes of the hidden layers are missing".to_owned());
            let bias = family == "mlp";
            (bias || family == "mlp-nobias").then(|| Ok(Architecture::Mlp { hidden: mlp::hidden(sizes()?)?, bias }))
        },
    },
    Builtin {
        names: &["vgg16-ln", "vgg16-bn", "vgg16-ln:0.25"],
        what: "VGG16 for 32 × 32 images with LayerNorm or BatchNorm; `:W` multiplies all widths",
        reference: "Ainsworth et al. 2023, appendix A.3",
        read: |family, argument| {
            let norm = Norm::named(family.strip_prefix("vgg16-")?)?;
            Some(width(64, argument).map(|base| Architecture::Vgg { base, norm }))
        },
    },
    Builtin {
        names: &["vgg11-nobias", "vgg11-nobias:0.25"],
        what: "VGG11 for 32 × 32 images without biases and normalisation; `:W` multiplies all widths",
        reference: "Singh and Jaggi 2020, OT-Fusion",
        read: |family, argument| {
            (family == "vgg11-nobias").then(|| width(64, argument).map(|base| Architecture::Vgg11 { base }))
        },
    },
    Builtin {
        names: &[
            "resnet20-ln",
            "resnet32-ln",
            "resnet44-ln",
            "resnet56-ln",
            "resnet110-ln",
            "resnet20-bn",
            "resnet32-bn",
            "resnet44-bn",
            "resnet56-bn",
            "resnet110-bn",
            "resnet20-ln:4",
        ],
        what: "ResNet for 32 × 32 images, shortcuts 3 × 3 convolutions; `:W` multiplies all widths",
        reference: "Ainsworth et al. 2023, appendix A.3",
        read: |family, argument| {
            let (blocks, norm) = small_resnet(family)?;
            let norm = Norm::named(norm)?;
            Some(width(16, argument).map(|base| Architecture::ResNet { base, blocks, norm }))
        },
    },
    Builtin {
        names: &["resnet20-a", "resnet32-a", "resnet44-a", "resnet56-a", "resnet110-a"],
        what: "ResNet for 32 × 32 images with BatchNorm, shortcuts without parameters",
        reference: "He et al. 2016, section 4.2, option A; github.com/akamaster/pytorch_resnet_cifar10",
        read: |family, argument| {
            let (blocks, kind) = small_resnet(family)?;
            (kind == "a").then(|| plain(argument, Architecture::OptionA { blocks }))
        },
    },
    Builtin {
        names: &["resnet18", "resnet34", "resnet50"],
        what: "ResNet for large images",
        reference: "He et al. 2016; torchvision.models.resnet",
        read: |family, argument| {
            let (layers, bottleneck) = match family {
                "resnet18" => ([2, 2, 2, 2], false),
                "resnet34" => ([3, 4, 6, 3], false),
                "resnet50" => ([3, 4, 6, 3], true),
                _ => return None,
            };
            Some(plain(argument, Architecture::TorchResNet { layers, bottleneck, norm: Norm::Batch }))
        },
    },
    Builtin {
        names: &["resnet50-ln", "resnet50-bn"],
        what: "resnet50 with LayerNorm or BatchNorm",
        reference: "Ainsworth et al. 2023, section 5.1; torchvision.models.resnet",
        read: |family, argument| {
            let norm = Norm::named(family.strip_prefix("resnet50-")?)?;
            Some(plain(argument, Architecture::TorchResNet { layers: [3, 4, 6, 3], bottleneck: true, norm }))
        },
    },
    Builtin {
        names: &["vgg16", "vgg16_bn"],
        what: "VGG16 for large images, without or with BatchNorm",
        reference: "Simonyan and Zisserman 2015; torchvision.models.vgg",
        read: |family, argument| {
            let norm = match family {
                "vgg16" => None,
                "vgg16_bn" => Some(Norm::Batch),
                _ => return None,
            };
            Some(plain(argument, Architecture::TorchVgg { norm }))
        },
    },
];

/// Blocks of a group, and what follows the dash: `resnet56-ln` gives 9 and `ln`.
fn small_resnet(family: &str) -> Option<(usize, &str)> {
    let (depth, kind) = family.strip_prefix("resnet")?.split_once('-')?;
    let blocks = match depth {
        "20" => 3,
        "32" => 5,
        "44" => 7,
        "56" => 9,
        "110" => 18,
        _ => return None,
    };
    Some((blocks, kind))
}

/// Channels of the first layer: `base` times the multiplier.
fn width(base: usize, multiplier: Option<&str>) -> Result<usize, String> {
    let Some(text) = multiplier else { return Ok(base) };
    let channels = text.parse::<f64>().map_or(f64::NAN, |w| w * base as f64);
    if channels.fract() == 0.0 && (1.0..=MAX_UNITS as f64).contains(&channels) {
        return Ok(channels as usize);
    }
    Err(format!("`{text}` is no multiplier that makes {base} a whole number between 1 and {MAX_UNITS}"))
}

/// A network whose name takes nothing behind a colon.
fn plain(argument: Option<&str>, architecture: Architecture) -> Result<Architecture, String> {
    match argument {
        None => Ok(architecture),
        Some(text) => Err(format!("`:{text}` follows a name that takes nothing")),
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Architecture {
    Mlp { hidden: Vec<usize>, bias: bool },
    Vgg { base: usize, norm: Norm },
    Vgg11 { base: usize },
    ResNet { base: usize, blocks: usize, norm: Norm },
    OptionA { blocks: usize },
    TorchResNet { layers: [usize; 4], bottleneck: bool, norm: Norm },
    TorchVgg { norm: Option<Norm> },
}

impl Architecture {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Error::NoNetwork`], or [`Error::Network`] if it is of a known family with something wrong behind the colon.
    pub(super) fn read(name: &str) -> Result<Self> {
        let (family, argument) = name.split_once(':').map_or((name, None), |(family, rest)| (family, Some(rest)));
        let lines: Vec<String> =
            known().iter().map(|row| format!("\n  {}: {}", row.names.join(", "), row.what)).collect();
        let lines = lines.concat();
        if let Some(found) = TABLE.iter().find_map(|row| (row.read)(family, argument)) {
            return found.map_err(|why| fail(name, format!("{why}; known are{lines}")));
        }
        let families = known().iter().flat_map(|row| row.names).map(|n| n.split(':').next().unwrap_or(n));
        let near = nearest(family, families).map(|near| match argument {
            Some(argument) => format!("{near}:{argument}"),
            None => near.to_owned(),
        });
        Err(Error::NoNetwork { name: name.to_owned(), near, known: lines })
    }

    /// Shape of one sample it was made for, with `features` numbers or channels.
    pub(super) fn sample(&self, features: usize) -> Vec<usize> {
        match self {
            Self::Mlp { .. } => vec![features],
            Self::Vgg { .. } | Self::Vgg11 { .. } | Self::ResNet { .. } | Self::OptionA { .. } => {
                vec![features, 32, 32]
            }
            Self::TorchResNet { .. } | Self::TorchVgg { .. } => vec![features, 224, 224],
        }
    }

    /// Adds its layers behind `x`.
    pub(super) fn build(&self, g: &mut Graph, x: ValueId, classes: usize) -> onebasin_core::error::Result<ValueId> {
        match *self {
            Self::Mlp { ref hidden, bias } => mlp::mlp(g, x, hidden, bias, classes),
            Self::Vgg { base, norm } => vgg::vgg(g, x, base, norm, classes),
            Self::Vgg11 { base } => vgg::vgg11_nobias(g, x, base, classes),
            Self::ResNet { base, blocks, norm } => resnet::resnet(g, x, base, blocks, norm, classes),
            Self::OptionA { blocks } => resnet::option_a(g, x, blocks, classes),
            Self::TorchResNet { layers, bottleneck, norm } => {
                resnet::torch_resnet(g, x, layers, bottleneck, norm, classes)
            }
            Self::TorchVgg { norm } => vgg::torch_vgg(g, x, norm, classes),
        }
    }
}
