//! Who is really in a zone: what no camera and no count sees.

/// Everybody in a zone, and who left it.
#[derive(Default)]
pub struct Inside {
    people: Vec<Person>,
    left: Vec<Departure>,
}

/// Somebody inside.
#[derive(Clone, Copy)]
struct Person {
    /// What they came with.
    pass: usize,
    /// When they showed it, microseconds of the run.
    came_us: u64,
}

/// Somebody who was inside.
struct Departure {
    came_us: u64,
    /// When they were through the exit.
    left_us: u64,
}

impl Inside {
    /// Somebody is through an entrance.
    pub fn enter(&mut self, pass: usize, came_us: u64) {
        self.people.push(Person { pass, came_us });
    }

    /// Somebody is through an exit; whoever came by the button has no pass and stands for anybody.
    pub fn leave(&mut self, pass: Option<usize>, left_us: u64) {
        let at = self.people.iter().position(|one| Some(one.pass) == pass).unwrap_or(0);
        if !self.people.is_empty() {
            let Person { came_us, .. } = self.people.remove(at);
            self.left.push(Departure { came_us, left_us });
        }
    }

    /// How many are there.
    pub fn count(&self) -> usize {
        self.people.len()
    }

    /// With which pass the `n`th came.
    pub fn pass(&self, n: usize) -> Option<usize> {
        self.people.get(n).map(|one| one.pass)
    }

    /// Since a moment at which the count was set to nobody: how many are there who came later, and how many left later who
    /// had come before.
    pub fn since(&self, us: u64) -> (usize, usize) {
        let came = self.people.iter().filter(|one| one.came_us >= us).count();
        let left = self.left.iter().filter(|one| one.left_us >= us && one.came_us < us).count();
        (came, left)
    }
}
