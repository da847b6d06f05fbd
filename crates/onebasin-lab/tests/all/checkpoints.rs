//! Networks that other people trained, on the images they were trained for.

use onebasin_lab::Data;
use onebasin_nn::exec::Program;
use onebasin_nn::task::Classes;
use onebasin_nn::{Network, evaluate};
use onebasin_testkit::{cifar10_or_skip, data_or_skip};

/// Measured elsewhere on the same images: 91.70 % and 90.95 %. One decision may fall the other way, where two classes tie
/// but for rounding.
#[test]
fn trained_resnet20s_answer_as_they_should() {
    const NAME: &str = "trained_resnet20s_answer_as_they_should";
    let (Some(images), Some(folder)) = (cifar10_or_skip(NAME), data_or_skip(NAME)) else { return };
    let test = Data::open(&format!("cifar10:{}", images.display())).unwrap().test.take(2000);
    for (file, accuracy) in [("resnet20_a.safetensors", 0.9170), ("resnet20_b.safetensors", 0.9095)] {
        let params = onebasin_io::read(&folder.join("checkpoints/cifar10_resnet20").join(file)).unwrap().params;
        let network = Network::fitting("resnet20-a", &params).unwrap();
        let program = Program::new(network.graph().unwrap()).unwrap();
        let found = evaluate(&program, &params, &test, &Classes).unwrap();
        assert!((found.accuracy.unwrap() - accuracy).abs() < 1.5 / 2000.0, "{file}: {found:?}, elsewhere {accuracy}");
    }
}
