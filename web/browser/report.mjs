// Collects what was checked: a failure never stops the rest, and the figures are printed either way.
export class Report {
  failures = [];
  checks = 0;
  figures = new Map();

  expect(good, what) {
    this.checks += 1;
    if (!good) this.failures.push(what);
  }

  /** Keeps the worst of a figure seen under one name. */
  atLeast(name, value, limit, where) {
    const before = this.figures.get(name);
    if (!before || value < before.value) this.figures.set(name, { value, limit, where, rule: '>=' });
    this.expect(value >= limit, `${name} is ${value.toFixed(3)}, less than ${limit}: ${where}`);
  }

  atMost(name, value, limit, where) {
    const before = this.figures.get(name);
    if (!before || value > before.value) this.figures.set(name, { value, limit, where, rule: '<=' });
    this.expect(value <= limit, `${name} is ${value.toFixed(3)}, more than ${limit}: ${where}`);
  }

  /** A figure that depends on this machine's mood: printed, never failed on. */
  note(name, value) {
    this.figures.set(name, { value, limit: null, where: 'this machine', rule: '' });
  }

  print(seconds) {
    for (const [name, { value, limit, where, rule }] of this.figures) {
      const judged = limit === null ? '(reported only)' : `(${rule} ${limit}, worst at ${where})`;
      console.log(`${name.padEnd(46)} ${value.toFixed(3).padStart(8)}  ${judged}`);
    }
    for (const failure of this.failures) console.log(`FAILED ${failure}`);
    console.log(`${this.checks} checks, ${this.failures.length} failed, ${seconds.toFixed(1)} s`);
    console.log(
      JSON.stringify({
        checks: this.checks,
        failed: this.failures.length,
        figures: Object.fromEntries([...this.figures].map(([name, { value, limit }]) => [name, { value, limit }])),
        ok: this.failures.length === 0,
      }),
    );
  }
}
