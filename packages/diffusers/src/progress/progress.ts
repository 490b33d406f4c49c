// What a pipeline tells while it runs. The bar itself is Node's business (node/bar.ts); browsers bring their own.

export interface ProgressBar {
  update(done: number, note?: string): void;
  stop(): void;
}

export interface ProgressConfig {
  /** Default: shown only when stderr is a terminal. */
  readonly disable?: boolean;
  readonly description?: string;
  /** Replaces the terminal bar. */
  readonly create?: (total: number, description: string) => ProgressBar;
}

export const silentBar: ProgressBar = { update() {}, stop() {} };

/** The bar a pipeline shall show. */
export async function progressBar(total: number, config: ProgressConfig): Promise<ProgressBar> {
  if (config.disable) return silentBar;
  const description = config.description ?? 'denoising';
  if (config.create) return config.create(total, description);
  if (typeof process === 'undefined' || !process.stderr) return silentBar;
  const { terminalBar } = await import('./node/bar.ts');
  return terminalBar(total, description, config.disable === false) ?? silentBar;
}
