// S of candidates with another λ: the same two numbers and the same operations as the search's own.
export function score(candidate, penalty) {
  return candidate.gain === null ? null : candidate.gain - penalty * candidate.decades;
}

// By falling S; of equals the first stays first.
export function ranked(candidates, penalty) {
  return candidates
    .map((candidate) => ({ candidate, score: score(candidate, penalty) }))
    .filter((one) => one.score !== null && !one.candidate.broken)
    .sort((one, other) => other.score - one.score);
}
