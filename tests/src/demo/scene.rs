//! The codes that are held up: cut from the printed sheet, forged, borrowed from elsewhere.

use std::path::Path;

use anyhow::{Context, bail};
use ed25519_dalek::SigningKey;
use gate_core::ids::{Cti, Kid};
use gate_core::pass::{Claims, PassFlags, VISITOR_LIMIT, issue};
use hardware::compose::{Scene, code, compose};
use hardware::decode::Cascade;
use hardware::frame::LumaFrame;
use serde_json::Value;

use crate::world::{Office, sheet, text_at};

/// Something that is held up to a camera.
pub(crate) struct Pass {
    /// The frame, as PNG.
    pub(crate) frame: Vec<u8>,
    /// The pass's id, where it has one.
    pub(crate) cti: String,
}

/// Everything the story holds up.
pub(crate) struct Codes {
    /// The vendor's printed sheet.
    pub(crate) sheet: Vec<Pass>,
    /// Who issued it.
    pub(crate) vendor: String,
    expired: Pass,
    /// When the expired one is over for certain, Unix milliseconds.
    pub(crate) expires_ms: i64,
    forged: Pass,
    foreign: Pass,
    photographs: Vec<Pass>,
}

/// The side of what is held up in the camera's view, pixels of 1280; a code fills more than half of it.
const HELD_PX: f32 = 560.0;
/// The side of a drawn code, pixels.
const DRAWN_PX: f32 = 330.0;
/// Photographs that are held up, where there are any.
const PHOTOGRAPHS: usize = 2;

impl Codes {
    /// Fetches the sheets of two batches, prints them and cuts the codes out.
    pub(crate) async fn print(
        office: &Office,
        world: &Path,
        good: &Value,
        old: &Value,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let cut = cut_batch(office, &world.join("print"), good).await?;
        let mut sheet = Vec::new();
        for (at, (picture, cti)) in cut.iter().enumerate() {
            sheet.push(Pass { frame: held_up(picture, seed + at as u64)?, cti: cti.clone() });
        }
        let (old_picture, old_cti) = cut_batch(office, &world.join("print-old"), old).await?.remove(0);
        let expired = Pass { frame: held_up(&old_picture, seed + 100)?, cti: old_cti };
        let text = read(&cut[23].0).context("the last code of the sheet does not read")?;
        let forged = drawn(&forge(&text)?, seed + 101)?;
        let foreign = drawn(&elsewhere()?, seed + 102)?;
        let expires_ms = crate::clock::unix_ms() + super::SHORT_LIFE_MS;
        Ok(Self { sheet, vendor: String::new(), expired, expires_ms, forged, foreign, photographs: photographs()? })
    }

    pub(crate) fn genuine(&self, at: usize) -> &Pass {
        &self.sheet[at]
    }

    pub(crate) fn expired(&self) -> &Pass {
        &self.expired
    }

    pub(crate) fn forged(&self) -> &Pass {
        &self.forged
    }

    pub(crate) fn foreign(&self) -> &Pass {
        &self.foreign
    }

    pub(crate) fn photographs(&self) -> &[Pass] {
        &self.photographs
    }
}

/// A batch's codes, printed, cut out and held up.
pub(crate) async fn printed(office: &Office, world: &Path, batch: &Value, seed: u64) -> anyhow::Result<Vec<Pass>> {
    let cut = cut_batch(office, &world.join("print"), batch).await?;
    cut.iter()
        .zip(seed..)
        .map(|((picture, cti), seed)| Ok(Pass { frame: held_up(picture, seed)?, cti: cti.clone() }))
        .collect()
}

/// The pictures of a batch's codes as printed, each with its pass's id.
async fn cut_batch(office: &Office, dir: &Path, batch: &Value) -> anyhow::Result<Vec<(LumaFrame, String)>> {
    let id = text_at(batch, "/batch_id")?;
    let pdf = office.fetch(&format!("/batches/{id}/sheet.pdf")).await?;
    let whole = office.look(&format!("/batches/{id}")).await?;
    let passes = whole["passes"].as_array().context("the batch lists no passes")?;
    let pages = sheet::rasterise(&pdf, dir)?;
    let pictures = sheet::cut(&pages, passes.len())?;
    let mut codes = Vec::new();
    for (picture, pass) in pictures.into_iter().zip(passes) {
        let text = read(&picture).context("a printed code does not read at 150 dpi")?;
        let cti = text_at(pass, "/cti")?;
        let printed = claimed_cti(&text).context("a printed code is no pass")?;
        if printed.to_string() != cti {
            bail!("the sheet shows pass {printed} where {cti} was issued");
        }
        codes.push((picture, cti));
    }
    Ok(codes)
}

/// What our decoder reads.
fn read(picture: &LumaFrame) -> Option<String> {
    let mut cascade = Cascade::new(std::time::Duration::from_secs(5));
    cascade.read(picture).texts.into_iter().next()
}

/// The id that a pass's text claims, its signature not checked: here only to find it in a list.
fn claimed_cti(text: &str) -> Option<Cti> {
    let bytes = base45::decode(text.strip_prefix("GP1:")?).ok()?;
    let envelope = gate_core::cose::Envelope::parse(&bytes).ok()?;
    Some(Claims::decode(&envelope.payload).ok()?.cti)
}

fn held_up(picture: &LumaFrame, seed: u64) -> anyhow::Result<Vec<u8>> {
    in_view(picture, seed, HELD_PX)
}

fn in_view(picture: &LumaFrame, seed: u64, side_px: f32) -> anyhow::Result<Vec<u8>> {
    let frame = compose(picture, &Scene::friendly(seed, side_px)).context("the code does not fit into the view")?;
    if read(&frame).is_none() {
        bail!("the composed frame of seed {seed} does not read: choose another --seed");
    }
    Ok(frame.to_png()?)
}

fn drawn(text: &str, seed: u64) -> anyhow::Result<Pass> {
    let picture = code(text, 8)?;
    Ok(Pass { frame: in_view(&picture, seed, DRAWN_PX)?, cti: String::new() })
}

/// The same pass with one bit of its signature changed.
fn forge(text: &str) -> anyhow::Result<String> {
    let encoded = text.strip_prefix("GP1:").context("not a pass")?;
    let mut bytes = base45::decode(encoded)?;
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    Ok(format!("GP1:{}", base45::encode(&bytes)))
}

/// A pass that another venue's vendor signed properly.
fn elsewhere() -> anyhow::Result<String> {
    let now = crate::clock::unix_ms() / 1000;
    let claims = Claims {
        vendor: "ZZ".parse()?,
        venue: "YY".parse()?,
        not_before: now - 3600,
        expires: now + 3600,
        cti: Cti(*b"another venue !!"),
        product: 1,
        flags: PassFlags::default(),
        subject: None,
    };
    Ok(issue(&claims, Kid(*b"else"), &SigningKey::from_bytes(&[42; 32]), VISITOR_LIMIT)?)
}

/// Real photographs of other people's codes, where the folder is there.
fn photographs() -> anyhow::Result<Vec<Pass>> {
    let folder = Path::new("../shared/qr/zxing");
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "png" || e == "jpg")) {
        if found.len() == PHOTOGRAPHS {
            break;
        }
        let Ok(picture) = LumaFrame::from_file(path) else { continue };
        if picture.width() > 1280 || picture.height() > 960 || read(&picture).is_none() {
            continue;
        }
        // A photograph is a frame already: the camera is given it as it is.
        let frame = picture.to_png()?;
        found.push(Pass { frame, cti: String::new() });
    }
    Ok(found)
}
