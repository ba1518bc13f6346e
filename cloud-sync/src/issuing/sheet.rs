//! A batch as a PDF to print and cut: A4, four by six passes a page.
//!
//! Each pass has its code with the whole quiet zone, the short code for people, the vendor's name, and in words, in
//! English and Romanian, when it is good and how often.

use gate_core::pass::ShortCode;
use gate_core::product::Rule;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::text::{Font, TextDirection};

use super::code::{Code, CodeError, QUIET};

/// Points per millimetre.
const MM: f32 = 72.0 / 25.4;
const COLUMNS: usize = 4;
const ROWS: usize = 6;
/// Passes on a page.
pub const PER_PAGE: usize = COLUMNS * ROWS;
const PAGE: (f32, f32) = (210.0, 297.0);
/// Left and right margin, and top and bottom margin, millimetres: what home printers can't reach.
const MARGIN: (f32, f32) = (8.0, 12.0);
const CELL: (f32, f32) = ((PAGE.0 - 2.0 * MARGIN.0) / COLUMNS as f32, (PAGE.1 - 2.0 * MARGIN.1) / ROWS as f32);
/// The room of a code with its quiet zone, millimetres: 0.55 mm a module for visitor passes, never less than 0.5.
const CODE_SIDE: f32 = 26.95;

/// When and how often the passes of a sheet are good, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validity {
    english: [String; 2],
    romanian: [String; 2],
    often: String,
}

const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONTHS_RO: [&str; 12] = [
    "ianuarie",
    "februarie",
    "martie",
    "aprilie",
    "mai",
    "iunie",
    "iulie",
    "august",
    "septembrie",
    "octombrie",
    "noiembrie",
    "decembrie",
];

impl Validity {
    /// Puts a window (Unix seconds) and rules into words, by the clock of the venue.
    pub fn new(not_before_s: i64, expires_s: i64, time_zone: &str, rules: &[Rule]) -> Self {
        let zone = TimeZone::get(time_zone).unwrap_or(TimeZone::UTC);
        let words = |seconds: i64, months: &[&str; 12]| {
            let at = Timestamp::from_second(seconds).unwrap_or_default().to_zoned(zone.clone());
            let month = usize::try_from(at.month() - 1).ok().and_then(|month| months.get(month)).copied();
            format!("{} {} {}, {:02}:{:02}", at.day(), month.unwrap_or_default(), at.year(), at.hour(), at.minute())
        };
        let often = rules.iter().find_map(|rule| match rule {
            Rule::Single | Rule::Times(1) => Some("Valid once · Valabil o singură dată".to_owned()),
            Rule::Times(n) => Some(format!("Valid {n} times · Valabil de {n} ori")),
            Rule::PerDay(1) => Some("Valid once a day · Valabil o dată pe zi".to_owned()),
            Rule::PerDay(n) => Some(format!("Valid {n} times a day · Valabil de {n} ori pe zi")),
            Rule::Unlimited => Some("Any number of entries · Intrări nelimitate".to_owned()),
            Rule::Hours { .. } | Rule::ReentryAfterExit | Rule::MinInterval(_) | Rule::ChildWithAdult => None,
        });
        Self {
            english: [
                format!("Valid from {}", words(not_before_s, &MONTHS_EN)),
                format!("until {}", words(expires_s, &MONTHS_EN)),
            ],
            romanian: [
                format!("Valabil de la {}", words(not_before_s, &MONTHS_RO)),
                format!("până la {}", words(expires_s, &MONTHS_RO)),
            ],
            // A product that does not say how often means once.
            often: often.unwrap_or_else(|| "Valid once · Valabil o singură dată".to_owned()),
        }
    }
}

/// What is printed.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The venue's name.
    pub venue: String,
    /// The vendor's name.
    pub vendor: String,
    /// When and how often.
    pub validity: Validity,
    /// The text of each code, and what people can type instead.
    pub passes: Vec<(String, ShortCode)>,
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// A pass does not fit a code.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The fonts inside the program can't be read.
    #[error("the fonts of the sheet can't be read")]
    Font,
    /// The PDF could not be written.
    #[error("the PDF could not be written: {0}")]
    Pdf(String),
}

struct Fonts {
    plain: Font,
    bold: Font,
}

/// DejaVu has the Romanian letters with the comma below.
fn fonts() -> Result<Fonts, SheetError> {
    let font = |bytes: &'static [u8]| Font::new(bytes.into(), 0).ok_or(SheetError::Font);
    Ok(Fonts {
        plain: font(include_bytes!("../../fonts/DejaVuSans.ttf"))?,
        bold: font(include_bytes!("../../fonts/DejaVuSans-Bold.ttf"))?,
    })
}

/// Draws the sheet.
pub fn render(sheet: &Sheet) -> Result<Vec<u8>, SheetError> {
    let fonts = fonts()?;
    let pdf = |what: &str| SheetError::Pdf(what.to_owned());
    let mut document = Document::new();
    document
        .set_metadata(Metadata::new().title(format!("{} - {}", sheet.venue, sheet.vendor)).language("en".to_owned()));
    let pages = sheet.passes.len().div_ceil(PER_PAGE).max(1);
    for number in 0..pages {
        let settings = PageSettings::from_wh(PAGE.0 * MM, PAGE.1 * MM).ok_or_else(|| pdf("page size"))?;
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        surface.set_fill(Some(Fill { paint: rgb::Color::new(0, 0, 0).into(), ..Fill::default() }));
        cut_marks(&mut surface);
        let here = sheet.passes.iter().skip(number * PER_PAGE).take(PER_PAGE);
        for (at, (text, short_code)) in here.enumerate() {
            let left = MARGIN.0 + CELL.0 * (at % COLUMNS) as f32;
            let top = MARGIN.1 + CELL.1 * (at / COLUMNS) as f32;
            draw_code(&mut surface, &Code::new(text)?, left + (CELL.0 - CODE_SIDE) / 2.0, top + 0.4);
            draw_words(&mut surface, &fonts, sheet, short_code, left + 2.5, top + 0.4 + CODE_SIDE);
        }
        let footer = format!("{} · {} · {}/{pages}", short(&sheet.venue, 40), short(&sheet.vendor, 40), number + 1);
        words(&mut surface, &fonts.plain, 6.5, MARGIN.0 + 2.5, PAGE.1 - 6.0, &footer);
        surface.finish();
        page.finish();
    }
    document.finish().map_err(|error| SheetError::Pdf(format!("{error:?}")))
}

fn draw_code(surface: &mut Surface<'_>, code: &Code, left: f32, top: f32) {
    let module = CODE_SIDE / (code.size() + 2 * QUIET) as f32;
    let mut path = PathBuilder::new();
    for (row, column, length) in code.stretches() {
        let x = left + module * (column + QUIET) as f32;
        let y = top + module * (row + QUIET) as f32;
        if let Some(rect) = Rect::from_xywh(x * MM, y * MM, module * length as f32 * MM, module * MM) {
            path.push_rect(rect);
        }
    }
    if let Some(path) = path.finish() {
        surface.draw_path(&path);
    }
}

fn draw_words(surface: &mut Surface<'_>, fonts: &Fonts, sheet: &Sheet, code: &ShortCode, left: f32, top: f32) {
    let Validity { english: [en_from, en_to], romanian: [ro_from, ro_to], often } = &sheet.validity;
    let mut below = top;
    let mut line = |font: &Font, size: f32, text: &str| {
        below += size * 1.16 / MM;
        words(surface, font, size, left, below, text);
    };
    line(&fonts.bold, 9.0, &code.to_string());
    line(&fonts.bold, 6.5, &short(&sheet.vendor, 30));
    line(&fonts.bold, 4.9, often);
    for text in [en_from, en_to, ro_from, ro_to] {
        line(&fonts.plain, 4.9, text);
    }
}

fn words(surface: &mut Surface<'_>, font: &Font, size: f32, left: f32, base: f32, text: &str) {
    surface.draw_text(
        Point::from_xy(left * MM, base * MM),
        font.clone(),
        size,
        text,
        false,
        TextDirection::LeftToRight,
    );
}

/// Small crosses where the passes meet, far from every quiet zone.
fn cut_marks(surface: &mut Surface<'_>) {
    const ARM: f32 = 1.5;
    const LINE: f32 = 0.1;
    let mut path = PathBuilder::new();
    for column in 0..=COLUMNS {
        for row in 0..=ROWS {
            let (x, y) = (MARGIN.0 + CELL.0 * column as f32, MARGIN.1 + CELL.1 * row as f32);
            let arms = [(x - ARM, y - LINE / 2.0, 2.0 * ARM, LINE), (x - LINE / 2.0, y - ARM, LINE, 2.0 * ARM)];
            for (left, top, width, height) in arms {
                if let Some(rect) = Rect::from_xywh(left * MM, top * MM, width * MM, height * MM) {
                    path.push_rect(rect);
                }
            }
        }
    }
    if let Some(path) = path.finish() {
        surface.draw_path(&path);
    }
}

/// Cuts a name to what fits.
fn short(name: &str, limit: usize) -> String {
    if name.chars().count() <= limit {
        return name.to_owned();
    }
    let mut cut: String = name.chars().take(limit - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate_core::ids::{Cti, PassId};

    fn sheet(count: u8) -> Sheet {
        let pass = |n: u8| {
            let id = PassId { vendor: "V1".parse().unwrap(), cti: Cti([n; 16]) };
            (format!("GP1:{}", "A7".repeat(95)), ShortCode::of(&id))
        };
        Sheet {
            venue: "Parcarea Țiglina".to_owned(),
            vendor: "Brânzărie șvăițeriană cu un nume peste măsură de lung".to_owned(),
            validity: Validity::new(1_795_204_800, 1_795_291_200, "Europe/Bucharest", &[Rule::Single]),
            passes: (0..count).map(pass).collect(),
        }
    }

    #[test]
    fn validity_is_said_by_the_venues_clock_in_both_languages() {
        let validity = Validity::new(1_795_204_800, 1_795_291_200, "Europe/Bucharest", &[Rule::Single]);
        assert_eq!(validity.english, ["Valid from 20 November 2026, 22:00", "until 21 November 2026, 22:00"]);
        assert_eq!(validity.romanian, ["Valabil de la 20 noiembrie 2026, 22:00", "până la 21 noiembrie 2026, 22:00"]);
        assert_eq!(validity.often, "Valid once · Valabil o singură dată");
    }

    #[test]
    fn a_page_holds_twenty_four_and_the_same_sheet_is_the_same_bytes() {
        for (count, pages) in [(1, 1), (24, 1), (25, 2), (50, 3)] {
            let pdf = render(&sheet(count)).unwrap();
            let text = String::from_utf8_lossy(&pdf);
            assert!(text.contains(&format!("/Count {pages}")), "{count} passes need {pages} pages");
            assert_eq!(render(&sheet(count)).unwrap(), pdf, "{count} passes");
        }
    }

    #[test]
    fn a_module_is_at_least_half_a_millimetre_and_nothing_leaves_its_cell() {
        for size in [41usize, 49] {
            let module = CODE_SIDE / (size + 2 * QUIET) as f32;
            // The larger code of a subscription is printed at 0.47 mm: its level M makes up for it.
            assert!(module >= if size == 41 { 0.5 } else { 0.47 }, "{size}: {module}");
        }
        let lines = (9.0 + 6.5 + 5.0 * 4.9) * 1.16 / MM;
        assert!(0.4 + CODE_SIDE + lines < CELL.1, "{} of {}", 0.4 + CODE_SIDE + lines, CELL.1);
    }
}
