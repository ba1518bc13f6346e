//! `bench read` as a table for people; the measuring is in `hardware::bench_read`.

use std::fmt::Write;

use hardware::bench_read::Report;

/// The table.
pub fn table(report: &Report) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{} pictures, seed {}", report.pictures, report.seed)?;
    for skipped in &report.skipped {
        writeln!(text, "skipped: {skipped}")?;
    }
    writeln!(
        text,
        "{:<16} {:>7} {:>6} {:>7} {:>9} {:>9} {:>9}",
        "decoder", "recall", "wrong", "panics", "p50 ms", "p95 ms", "max ms"
    )?;
    for score in &report.scores {
        let ms = |us: u64| us as f64 / 1000.0;
        writeln!(
            text,
            "{:<16} {:>6.1}% {:>6} {:>7} {:>9.1} {:>9.1} {:>9.1}",
            score.decoder,
            score.recall * 100.0,
            score.wrong,
            score.panics,
            ms(score.cpu_p50_us),
            ms(score.cpu_p95_us),
            ms(score.cpu_max_us)
        )?;
        for set in &score.sets {
            writeln!(text, "  {:<24} {:>4} of {:<4} wrong {}", set.set, set.right, set.pictures, set.wrong)?;
        }
    }
    for limit in &report.limits {
        let word = if limit.ok { "ok   " } else { "SHORT" };
        writeln!(text, "{word} {}: {:.3} against {:.3}", limit.promise, limit.measured, limit.limit)?;
    }
    Ok(text)
}
