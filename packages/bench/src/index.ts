// @darkroom/bench: the harness, for scripts of other packages. The command is cli.ts.

export { measure, summarize } from './measure.ts';
export type { Candidate, Timing } from './measure.ts';
export { environment, table, writeJson } from './report.ts';
export type { Environment } from './report.ts';
