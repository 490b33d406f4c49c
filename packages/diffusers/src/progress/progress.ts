// The progress of a call. The terminal's bar is in node/bar.ts; pages can set their own.

/** A progress bar, as a pipeline drives it. */
export interface ProgressBar {
  /** `done` of `total` steps are finished; `note` is shown beside the bar. */
  update(done: number, note?: string): void;
  /** Ends the bar, also after an error. */
  stop(): void;
}

/** Settings of a pipeline's progress bar. */
export interface ProgressConfig {
  /** True hides the bar, false always shows it; default: shown if stderr is a terminal. */
  readonly disable?: boolean;
  /** Text before the bar; default 'denoising'. */
  readonly description?: string;
  /** Replaces the terminal bar. */
  readonly create?: (total: number, description: string) => ProgressBar;
}

export const silentBar: ProgressBar = { update() {}, stop() {} };

/** The bar for a call of `total` steps; a silent one where nothing is shown. */
export async function progressBar(total: number, config: ProgressConfig): Promise<ProgressBar> {
  if (config.disable) return silentBar;
  const description = config.description ?? 'denoising';
  if (config.create) return config.create(total, description);
  if (typeof process === 'undefined' || !process.stderr) return silentBar;
  const { terminalBar } = await import('./node/bar.ts');
  return terminalBar(total, description, config.disable === false) ?? silentBar;
}
