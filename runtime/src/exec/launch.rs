//! A loop made ready: its scalars are known, its operands found, its tile laid out in memory.

use super::{
    buffer::Carve,
    inputs::Inputs,
    reader::Reader,
    temps::Temps,
    tile::{Need, Tiling, kinds},
};
use crate::{Error, output::human, rng, scalars::Scalars, select};
use merge_abi::{
    Access, Cut, KernelFn, KernelInfo, Loop, Operand, Origin, Plan, RandomKey, Read, RowPhaseKind, RowPick, ScalarId,
};

/// What all launches of a run share.
pub(crate) struct Setup<'p> {
    pub plan: &'p Plan,
    pub kernels: &'p [KernelFn],
    pub inputs: &'p Inputs,
    pub seed: i64,
    /// Bytes a tile should have, and may have where rows must stay whole.
    pub wish: u64,
    pub most: u64,
    /// Bytes of collected keys that a step may hold.
    pub select_bytes: u64,
    /// By step and operand, whether its entries are counted where they are not finite.
    pub looks: Vec<Vec<bool>>,
}

/// An operand in a tile.
pub(crate) enum Place {
    /// Read from a tensor.
    Tensor { read: Reader, access: Access, at: usize },
    /// Found by a phase, at this place.
    Value { at: usize },
}

/// Arguments of a kernel that do not change from tile to tile.
pub(crate) struct Arguments {
    pub params: Vec<f32>,
    pub keys: Vec<u64>,
    pub cuts: Vec<i64>,
}

/// A phase made ready.
pub(crate) struct Phase<'p> {
    pub code: KernelFn,
    pub info: &'p KernelInfo,
    pub operands: &'p [u32],
    pub arguments: Arguments,
    pub finds: Finds,
    /// Where each value lies: f32, one a row or one an entry.
    pub values: Vec<usize>,
    /// Bytes of an entry of each operand, 0 for those that are one a row.
    pub strides: Vec<Stride>,
}

/// What a phase makes of what its kernel gives.
pub(crate) enum Finds {
    Reductions,
    /// The store with the keys and the entries to select, of each pick.
    Picks(Vec<(usize, u64)>),
    /// Of the keys of each store, which become places where they lie.
    Places,
}

/// How an operand's address moves with the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stride {
    Entry(usize),
    Row(usize),
    Col(usize),
}

/// A loop made ready.
pub(crate) struct Launch<'p> {
    pub body: &'p Loop,
    pub info: &'p KernelInfo,
    pub code: KernelFn,
    pub tiling: Tiling,
    pub places: Vec<Place>,
    pub strides: Vec<Stride>,
    pub arguments: Arguments,
    pub phases: Vec<Phase<'p>>,
    /// Where each dense store lies, if they are kept.
    pub stores: Vec<usize>,
    /// Where the keys of rows lie.
    pub keys: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

impl<'p> Launch<'p> {
    /// None while a scalar that the loop needs is unknown or a temporary incomplete. `stores` is whether results are kept in the tile.
    ///
    /// # Errors
    /// Of the world, where a row does not fit into memory.
    pub fn new(
        setup: &Setup<'p>,
        body: &'p Loop,
        stores: bool,
        scalars: &mut Scalars<'_>,
        temps: &Temps<'_>,
    ) -> Result<Option<Launch<'p>>, Error> {
        let plan = setup.plan;
        let Some(arguments) = Arguments::new(setup, &body.params, &body.keys, &body.cuts, scalars) else { return Ok(None) };
        let kinds = kinds(body, &plan.kernels);
        let info = &plan.kernels[body.kernel as usize];
        let need = Need::of(body, info, &plan.kernels, stores);
        let tiling =
            Tiling::new(body, info, need, setup.wish, setup.most).map_err(|bytes| too_long(plan, body, bytes, setup.most))?;
        let (rows, cols) = (tiling.tile_rows, tiling.tile_cols);

        let mut carve = Carve::default();
        let mut phases = Vec::with_capacity(body.phases.len());
        for phase in &body.phases {
            let Some(arguments) = Arguments::new(setup, &phase.params, &phase.keys, &[], scalars) else { return Ok(None) };
            let info = &plan.kernels[phase.kernel as usize];
            let finds = match &phase.kind {
                RowPhaseKind::Reduce => Finds::Reductions,
                RowPhaseKind::Rank => Finds::Places,
                RowPhaseKind::Select { picks } => {
                    let mut pick = |p: &RowPick| Some((p.store as usize, select::entries(scalars.value(p.k)?)));
                    let Some(found) = picks.iter().map(&mut pick).collect::<Option<Vec<_>>>() else { return Ok(None) };
                    Finds::Picks(found)
                }
            };
            let each = if phase.kind.access() == Access::Dense { cols } else { 1 };
            let values = (0..phase.kind.values(info)).map(|_| carve.take(4 * rows * each)).collect();
            let strides = phase.operands.iter().map(|o| Stride::of(kinds[*o as usize])).collect();
            let code = setup.kernels[phase.kernel as usize];
            phases.push(Phase { code, info, operands: &phase.operands, arguments, finds, values, strides });
        }
        let places: Option<Vec<Place>> = body
            .operands
            .iter()
            .zip(&kinds)
            .map(|(operand, (dtype, access))| match operand {
                Operand::RowValue { phase, value } => Some(Place::Value { at: phases[*phase as usize].values[*value as usize] }),
                Operand::Dense(read) | Operand::PerRow(read) | Operand::PerCol(read) => {
                    let bytes = match access {
                        Access::Dense => dtype.size() * rows * cols,
                        Access::PerRow => 4 * rows,
                        Access::PerCol => dtype.size() * cols,
                    };
                    let at = carve.take(bytes);
                    Some(Place::Tensor { read: Reader::new(setup, temps, read)?, access: *access, at })
                }
            })
            .collect();
        let Some(places) = places else { return Ok(None) };
        let kept = if stores { &info.stores[..] } else { &[] };
        let stores = kept.iter().map(|d| carve.take(d.size() * rows * cols)).collect();
        let keys = carve.take(if need.per_key > 0 { need.per_key * super::work::keys_at_once(cols) } else { 0 });
        Ok(Some(Launch {
            body,
            info,
            code: setup.kernels[body.kernel as usize],
            tiling,
            places,
            strides: kinds.iter().take(info.operands.len()).map(|k| Stride::of(*k)).collect(),
            arguments,
            phases,
            stores,
            keys,
            bytes: carve.total(),
        }))
    }
}

impl Stride {
    fn of((dtype, access): (merge_abi::DType, Access)) -> Stride {
        match access {
            Access::Dense => Stride::Entry(dtype.size() as usize),
            Access::PerRow => Stride::Row(4),
            Access::PerCol => Stride::Col(dtype.size() as usize),
        }
    }
}

impl Arguments {
    fn new(
        setup: &Setup<'_>,
        params: &[ScalarId],
        keys: &[RandomKey],
        cuts: &[Cut],
        scalars: &mut Scalars<'_>,
    ) -> Option<Arguments> {
        let params = params.iter().map(|p| scalars.value(*p).map(|x| x as f32)).collect::<Option<_>>()?;
        let keys = keys.iter().map(|k| rng::key(*k, setup.seed)).collect();
        let cuts = cuts.iter().map(|c| scalars.stat(c.stat).map(|x| x as i64 - c.minus as i64)).collect::<Option<_>>()?;
        Some(Arguments { params, keys, cuts })
    }
}

fn too_long(plan: &Plan, body: &Loop, bytes: u64, most: u64) -> Error {
    let name = body.operands.iter().find_map(|o| match o {
        Operand::Dense(Read { from: Origin::Source(source), .. }) => Some(&plan.sources[*source as usize].name),
        _ => None,
    });
    let of = name.map_or(String::new(), |n| format!(" of tensor `{n}`"));
    Error::world(format!("one row{of} needs {} of memory while it is worked on, and a thread has {}", human(bytes), human(most)))
        .with_help("give more memory with `--memory`")
}
