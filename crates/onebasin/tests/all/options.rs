//! Options are plain data: they pass through JSON, have defaults for what is not said, and refuse what they do not know.

use onebasin::Context;
use onebasin::{
    Align, Apply, Blueprint, Error, Interpolation, Measure, Merge, MergeMany, Method, Model, Network, Pair, Repair,
    Together,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + Default>(options: &T, some: &str) {
    let text = serde_json::to_string(options).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *options, "{text}");
    assert_eq!(serde_json::from_str::<T>("{}").unwrap(), T::default());
    assert!(serde_json::from_str::<T>(some).is_ok(), "{some}");
    let unknown = serde_json::from_str::<T>(r#"{"lambada": 1}"#).unwrap_err();
    assert!(unknown.to_string().contains("lambada"), "{unknown}");
}

#[test]
fn options_come_back_from_json() {
    let align = Align { method: Method::Ste, blend: Some(0.25), ..Align::published(7) };
    comes_back(&align, r#"{"method": "frank-wolfe", "start": "signature", "order": "forward", "seed": 3}"#);
    let merge = Merge {
        lambda: 0.25,
        repair: Repair::Weights,
        group_lambda: [("h".to_owned(), 0.5)].into(),
        ..Merge::default()
    };
    comes_back(&merge, r#"{"interpolation": "slerp", "dtype": "bf16", "repair": "data"}"#);
    comes_back(&MergeMany { method: Together::Universe, ..MergeMany::default() }, r#"{"method": "tree"}"#);
    comes_back(&Measure { samples: Some(3), ..Measure::default() }, r#"{"points": 5, "repair": "weights"}"#);
    comes_back(&Apply { inverse: true, force: false, overwrite: false }, r#"{"inverse": true}"#);
    comes_back(&Blueprint { network: Some("mlp:8".to_owned()), ..Blueprint::default() }, r#"{"graph": "net.onnx"}"#);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let network = Network::new("mlp:8", &[4], 2).unwrap();
    let model = |seed| Model::of(&network, network.init(seed).unwrap()).unwrap();
    let pair = Pair::new(model(0), model(1)).unwrap();
    let none = Context::default();
    let refused = |align: Align| pair.align(&align, &none).unwrap_err();
    assert!(matches!(refused(Align { blend: Some(2.0), ..Align::default() }), Error::Option { option: "blend", .. }));
    assert!(matches!(refused(Align { restarts: 0, ..Align::default() }), Error::Option { option: "restarts", .. }));
    assert!(matches!(refused(Align { max_sweeps: 0, ..Align::default() }), Error::Option { option: "max_sweeps", .. }));
    assert!(matches!(
        refused(Align { budget: Some(-1.0), ..Align::default() }),
        Error::Option { option: "budget", .. }
    ));
    for method in Method::ALL.into_iter().filter(|method| *method != Method::Activation) {
        let blend = Align { method, blend: Some(0.5), ..Align::default() };
        assert!(
            matches!(refused(blend), Error::Option { option: "blend", found, .. } if found.contains(method.name()))
        );
    }
    let uncentred = Align { method: Method::Weight, uncentred: true, ..Align::default() };
    assert!(matches!(refused(uncentred), Error::Option { option: "uncentred", .. }));
    assert!(matches!(refused(Align { method: Method::Ste, ..Align::default() }), Error::NeedsData { .. }));
    let aligned = pair.align(&Align::default(), &none).unwrap();
    let refused = |merge: Merge| pair.merge(&aligned, &merge, &none).unwrap_err();
    assert!(matches!(refused(Merge { lambda: 1.5, ..Merge::default() }), Error::Option { option: "lambda", .. }));
    assert!(matches!(refused(Merge { repair: Repair::Data, ..Merge::default() }), Error::NeedsData { .. }));
    let circle = Merge { interpolation: Interpolation::Slerp, ..Merge::default() };
    for by_group in [
        Merge { group_lambda: [("fc1".to_owned(), 0.5)].into(), ..circle.clone() },
        Merge { min_correlation: Some(0.1), ..circle.clone() },
    ] {
        assert!(matches!(refused(by_group), Error::Option { option: "interpolation", .. }));
    }
    let far = Merge { group_lambda: [("fc9".to_owned(), 0.5)].into(), ..Merge::default() };
    assert!(matches!(refused(far), Error::NoGroup { group, .. } if group == "fc9"));
    assert!(matches!(pair.barrier(&[], &Measure::default(), &none), Err(Error::NeedsData { .. })));
    let other =
        Model::of(&Network::new("mlp:9", &[4], 2).unwrap(), Network::new("mlp:9", &[4], 2).unwrap().init(0).unwrap());
    let differ = Pair::new(model(0), other.unwrap()).unwrap_err();
    assert!(differ.to_string().contains("`fc1.weight`"), "{differ}");
}

#[test]
fn a_budget_decides_what_is_run_and_the_record_says_so() {
    let network = Network::new("mlp:96x2", &[40], 5).unwrap();
    let model = |seed| Model::of(&network, network.init(seed).unwrap()).unwrap();
    let pair = Pair::new(model(0), model(1)).unwrap();
    let record = |budget, memory| {
        let options = Align { method: Method::Weight, budget, memory, ..Align::default() };
        pair.align(&options, &Context::default()).unwrap().record.unwrap()
    };
    let (least, plenty) = (record(Some(0.0), None), record(Some(60.0), None));
    assert_eq!((least.runs.len(), least.plan.len()), (1, 7));
    assert!(least.plan[0].fits && least.plan[1..].iter().all(|candidate| !candidate.fits));
    assert!(plenty.plan.iter().all(|candidate| candidate.fits) && plenty.runs.len() > 1);
    assert!(plenty.objective >= least.objective);
    let climbs = |record: &onebasin::core::report::MatchRecord| {
        record.runs.iter().any(|run| run.schedule == onebasin::core::matching::Schedule::FrankWolfe)
    };
    assert!(climbs(&plenty) && !climbs(&record(Some(60.0), Some(plenty.plan[0].cost.memory))));
}
