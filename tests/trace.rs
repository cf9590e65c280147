//! A trace tells what happened: the numbers of both ways, who passed them on, where in the model, and what to look at.

use chainrule::explain::{At, LeafKind, Origin, Trace, trace};
use chainrule::nn::{Init, Layer, LayerNorm, Linear, Masks, Module, MultiheadAttention, Relu, Sequential};
use chainrule::optim::{Adam, Sgd};
use chainrule::{DType, ErrorKind, Parameter, Result, Tensor, Value, checkpoint, module, mse_loss, no_grad};
use serde_json::Value as Json;

fn numbers(value: &Value) -> Vec<f64> {
    Tensor::from_value(value.clone()).to_dtype(DType::F64).to_vec::<f64>().unwrap()
}

fn parsed(trace: &Trace) -> Json {
    serde_json::from_str(&trace.json()).unwrap()
}

fn names(trace: &Trace) -> Vec<&str> {
    trace.operations().iter().map(|operation| operation.name()).collect()
}

#[test]
fn both_ways_are_told_in_order() -> Result<()> {
    // L = Σ (x·x + 3x), so that x is reached by three paths
    let x = Tensor::from([2.0, -1.0]).variable().named("x");
    let trace = trace(|| (&x * &x + &x * 3.0).sum())?;
    assert_eq!(names(&trace), ["mul", "mul", "add", "sum"]);
    assert_eq!(trace.loss(), 4.0 + 6.0 + 1.0 - 3.0);
    assert_eq!(trace.operations()[2].operands()[1], Origin::Operation { operation: 1, result: 0 });
    let order: Vec<At> = trace.moments().iter().map(|moment| moment.at()).collect();
    assert_eq!(order[..4], [At::Operation(3), At::Operation(2), At::Operation(1), At::Operation(0)]);
    let last = trace.moments().last().expect("x");
    assert_eq!(last.parts(), [(1, 0), (0, 0), (0, 1)]);
    assert_eq!(numbers(last.arrived()[0].as_ref().expect("a gradient")), [7.0, 1.0]);
    // What is passed on adds up to what arrives.
    let mut sum = [0.0; 2];
    for (operation, operand) in last.parts() {
        let moment =
            trace.moments().iter().find(|moment| moment.at() == At::Operation(*operation)).expect("it was there");
        let passed = moment.passed().iter().find(|(which, _)| which == operand).expect("it passed something");
        sum.iter_mut().zip(numbers(&passed.1)).for_each(|(sum, part)| *sum += part);
    }
    assert_eq!(sum, [7.0, 1.0]);
    assert_eq!(trace.leaves()[0].kind(), LeafKind::Learnt);
    Ok(())
}

#[test]
fn equations_are_filled_with_the_numbers_of_an_element() -> Result<()> {
    let x = Tensor::from([0.5, 2.0]).variable();
    let trace = trace(|| (x.tanh() * 2.0 - 1.0).square().sum())?;
    let json = parsed(&trace);
    let equation = |at: usize| json["operations"][at]["equation"].as_str().unwrap().to_string();
    assert_eq!([0, 1, 2, 3, 4].map(equation), ["y = tanh(x)", "y = x · 2", "y = x - 1", "y = x · x", "y = Σ x"]);
    // The second element is where most arrives, on the way through the square.
    assert_eq!(json["operations"][3]["inNumbers"], "[0]: 0.00574 = (-0.07577) · (-0.07577)");
    assert_eq!(json["operations"][4]["inNumbers"], "0.867 = 0.00574 + 0.8613");
    let tanh = json["moments"].as_array().unwrap().iter().find(|moment| moment["at"][1] == 0).unwrap();
    assert_eq!(tanh["passed"][0]["rule"], "∂L/∂x = (1 - y · y) · ∂L/∂y");
    assert_eq!(tanh["passed"][0]["inNumbers"], "[1]: 0.2623 = (1 - 0.964 · 0.964) · 3.712");
    Ok(())
}

struct Block {
    norm: LayerNorm,
    attention: MultiheadAttention,
    up: Linear,
    down: Linear,
}
module!(Block { norm, attention, up, down });

struct Model {
    blocks: Vec<Block>,
    head: Linear,
}
module!(Model { blocks, head });

impl Model {
    fn new() -> Model {
        let mut init = Init::new().seed(1);
        let block = |init: &mut Init| Block {
            norm: LayerNorm::new(8, init),
            attention: MultiheadAttention::options(8, 2).with_batch_first().build(init),
            up: Linear::new(8, 16, init),
            down: Linear::new(16, 8, init),
        };
        Model { blocks: (0..2).map(|_| block(&mut init)).collect(), head: Linear::new(8, 1, &mut init) }.named()
    }
    fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = x.clone();
        for block in &self.blocks {
            let seen = block.norm.forward(&x);
            x = &x + block.attention.attend(&seen, &seen, &seen, &Masks::new().causal());
            x = &x + block.down.forward(&block.up.forward(&x).gelu());
        }
        self.head.forward(&x)
    }
}

#[test]
fn operations_stand_in_the_modules_of_the_model() -> Result<()> {
    let (mut model, x) = (Model::new(), Tensor::ones([1, 3, 8]).named("x"));
    let mut trace = trace(|| model.forward(&x).square().mean())?;
    let places = |name: &str| -> Vec<String> {
        let found = trace.operations().iter().enumerate().filter(|(_, operation)| operation.name() == name);
        found.map(|(number, _)| trace.place(number)).collect()
    };
    assert_eq!(places("layer_norm"), ["blocks.0.norm", "blocks.1.norm"]);
    assert_eq!(places("scaled_dot_product_attention"), ["blocks.0.attention", "blocks.1.attention"]);
    assert_eq!(places("gelu"), ["blocks.0", "blocks.1"]);
    assert_eq!(places("mean"), [""]);
    // what the blocks add to the stream belongs to them
    assert!(places("add")[..2].iter().all(|place| place == "blocks.0"), "{:?}", places("add"));

    let before: Vec<(String, Vec<f32>)> = model
        .parameters()
        .into_iter()
        .map(|(name, parameter)| Ok((name, parameter.to_vec::<f32>()?)))
        .collect::<Result<_>>()?;
    trace.update(&mut model, &mut Adam::new(0.1))?;
    let json = parsed(&trace);
    let updates = json["updates"].as_array().unwrap();
    assert_eq!(updates.len(), before.len());
    for ((name, old), (_, new)) in before.iter().zip(model.parameters()) {
        let leaf = json["leaves"].as_array().unwrap().iter().position(|leaf| leaf["name"] == name.as_str()).unwrap();
        let update = updates.iter().find(|update| update["leaf"] == leaf).unwrap();
        for (value, numbers) in [(&json["leaves"][leaf]["value"], old), (&update["after"], &new.to_vec::<f32>()?)] {
            let Some(all) = value["all"].as_array() else { continue };
            let shown: Vec<f32> = all.iter().map(|x| x.as_f64().unwrap() as f32).collect();
            assert_eq!(&shown, numbers, "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_module_that_is_used_again_is_a_group_of_its_own() -> Result<()> {
    let mut init = Init::new();
    let model =
        Sequential::new().then(Linear::new(4, 4, &mut init)).then(Relu).then(Linear::new(4, 4, &mut init)).named();
    let x = Tensor::ones([1, 4]);
    let trace = trace(|| model.forward(&model.forward(&x)).sum())?;
    let places: Vec<String> = (0..7).map(|number| trace.place(number)).collect();
    assert_eq!(places, ["0", "", "2", "0 (2)", "", "2 (2)", ""]);
    Ok(())
}

#[test]
fn it_points_at_what_goes_wrong() -> Result<()> {
    let found = |loss: &dyn Fn(&Tensor) -> Tensor| -> Result<String> {
        let x = Tensor::from([[20.0, -30.0, 0.5], [25.0, -20.0, 40.0]]).variable().named("x");
        Ok(trace(|| loss(&x))?.findings().join("\n"))
    };
    assert!(found(&|x| x.tanh().sum())?.contains("tanh: saturated: 83 % of its results"));
    assert!(found(&|x| x.relu().sum())?.contains("relu: 1 of 3 units are 0 for the whole batch"));
    assert!(found(&|x| x.sqrt().sum())?.contains("sqrt: 2 of 6 results are NaN"));
    assert!(found(&|x| (x * 0.1).sum())?.is_empty());
    // Three layers of the same size: one gets a gradient a million times smaller than the others.
    let leaves: Vec<Tensor> = [1.0, 1.0, 1e-6].iter().map(|_| Tensor::ones([4]).variable()).collect();
    let leaves: Vec<Tensor> = leaves.into_iter().zip(["a", "b", "c"]).map(|(leaf, name)| leaf.named(name)).collect();
    let trace = trace(|| (&leaves[0] + &leaves[1] + &leaves[2] * 1e-6).sum())?;
    assert_eq!(trace.findings().len(), 1);
    assert!(trace.findings()[0].contains("1/1.000e6 of the middle one: it vanishes"), "{:?}", trace.findings());
    Ok(())
}

#[test]
fn what_is_no_loss_is_an_error() {
    let x = Tensor::ones([3]).variable();
    let kind = |outcome: Result<Trace>| outcome.err().map(|error| error.kind());
    assert_eq!(kind(trace(|| &x * 2.0)), Some(ErrorKind::Shape));
    assert_eq!(kind(trace(|| Tensor::ones([1]).sum())), Some(ErrorKind::Gradient));
    assert_eq!(kind(trace(|| no_grad(|| x.sum()))), Some(ErrorKind::Gradient));
    let failed = trace(|| x.matmul(&Tensor::ones([4, 4])).sum()).expect_err("the sizes differ");
    assert_eq!((failed.kind(), failed.operation()), (ErrorKind::Shape, "matmul"));
    assert!(failed.to_string().contains("tests/trace.rs") || cfg!(windows), "{failed}");
    let failed = trace(|| &x * 2.0).expect_err("three numbers");
    assert!(failed.to_string().contains("tests/trace.rs") || cfg!(windows), "{failed}");
}

#[test]
fn the_graph_stays_and_what_came_before_is_data() -> Result<()> {
    let x = Tensor::from([3.0]).variable();
    let before = x.square();
    let mut kept = None;
    let trace = trace(|| {
        let loss = (&before * 2.0).sum();
        kept = Some(loss.clone());
        loss
    })?;
    assert_eq!(names(&trace), ["mul", "sum"]);
    assert_eq!(trace.gradients().of(&x)?.item()?, 12.0);
    assert_eq!(kept.expect("the loss").backward()?.of(&x)?.item()?, 12.0);
    Ok(())
}

#[test]
fn scopes_inside_do_no_harm() -> Result<()> {
    let weight = Parameter::new(Tensor::ones([2, 2]));
    let x = Tensor::ones([1, 2]);
    let trace = trace(|| {
        let hidden = checkpoint(|| x.matmul(&weight).tanh());
        let share = no_grad(|| hidden.softmax(-1));
        (hidden * share).sum()
    })?;
    assert!(names(&trace).contains(&"softmax"));
    assert_eq!(trace.gradients().len(), 1);
    Ok(())
}

#[test]
fn pages_hold_any_name_and_graphs_close_what_they_open() -> Result<()> {
    let nasty = "</script><b>\"&\\\n\u{2028}{{script}}$&";
    let mut model = Model::new();
    let x = Tensor::ones([1, 2, 8]).variable().named(nasty);
    let mut trace = trace(|| model.forward(&x).named(nasty).square().mean())?;
    trace.update(&mut model, &mut Sgd::new(0.1))?;
    let page = trace.html(nasty);
    assert_eq!(page.matches("</script>").count(), 2, "the data and the script");
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;"));
    let json = parsed(&trace);
    assert!(json["leaves"].as_array().unwrap().iter().any(|leaf| leaf["name"] == nasty));
    let inside = page.split("type=\"application/json\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert_eq!(serde_json::from_str::<Json>(inside).unwrap(), json);

    let (dot, mermaid) = (trace.graphviz(), trace.mermaid());
    assert_eq!(
        dot.matches('{').count() - dot.matches("{{").count(),
        dot.matches('}').count() - dot.matches("}}").count()
    );
    assert!(dot.contains("label=\"attention\"") && mermaid.contains("[\"attention\"]"));
    assert_eq!(mermaid.matches("subgraph ").count(), mermaid.lines().filter(|line| *line == "end").count());
    assert!(mermaid.lines().all(|line| !line.contains("</script>")));
    Ok(())
}

#[test]
fn integers_halves_and_nothing_at_all_can_be_shown() -> Result<()> {
    let table = Tensor::ones([5, 2]).to_dtype(DType::BF16).variable();
    let positions = Tensor::from([1i64, 4]).named("positions");
    let trace = trace(|| {
        let empty = Tensor::zeros([0, 2]).to_dtype(DType::BF16);
        let rows = table.index_select(0, &positions);
        (Tensor::cat(&[&rows, &empty], 0).to_dtype(DType::F64) / 3.0).sum()
    })?;
    let json = parsed(&trace);
    let leaf = json["leaves"].as_array().unwrap().iter().find(|leaf| leaf["name"] == "positions").unwrap();
    assert_eq!(leaf["value"]["all"], serde_json::json!([1, 4]));
    assert_eq!(leaf["value"]["dtype"], "i64");
    assert!(trace.to_string().contains("index_select"));
    Ok(())
}

#[test]
fn files_are_written_by_their_ending() -> Result<()> {
    let x = Tensor::ones([2]).variable();
    let trace = trace(|| mse_loss(&x, &Tensor::zeros([2])))?;
    let folder = std::env::temp_dir().join(format!("chainrule-trace-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (ending, begins) in
        [("html", "<!doctype"), ("json", "{"), ("dot", "digraph"), ("mmd", "flowchart"), ("txt", "forward")]
    {
        let path = folder.join("trace").with_extension(ending);
        trace.save(&path)?;
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(begins), "{ending}");
    }
    assert_eq!(trace.save(folder.join("none")).unwrap_err().kind(), ErrorKind::Value);
    assert_eq!(trace.save(folder.join("no").join("such").join("trace.txt")).unwrap_err().kind(), ErrorKind::Io);
    std::fs::remove_dir_all(&folder).unwrap();
    Ok(())
}
