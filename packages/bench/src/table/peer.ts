// Torch's figures of the same run: the time of a UNet step in the mode of each row, by packages/bench/torch/replay.py.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ImageSetting } from '../verify/image.ts';
import type { TorchReport } from '../verify/records.ts';
import { python } from '../verify/torch.ts';

/** Torch beside a table. */
export interface Peer {
  /** What was compared, or why nothing was. */
  readonly note: string;
  /** Milliseconds of a UNet step by the name of the setting. */
  readonly stepMs: Readonly<Record<string, number>>;
}

/** The folder of replay.py in a checkout. */
export const replayFolder: string = join(fileURLToPath(new URL('.', import.meta.url)), '../../torch');
/** For python3 to import torch, and to end. */
const slack = 60;

/** `comparable`: the model is the one that the replay has; then torch is timed for `seconds`. */
export async function torchBeside(
  settings: readonly ImageSetting[],
  {
    comparable,
    seconds,
    folder = replayFolder,
  }: { readonly comparable: boolean; readonly seconds: number; readonly folder?: string | undefined },
): Promise<Peer> {
  const time = comparable ? seconds : 0;
  const args = ['replay.py', 'sd15-ops.json', '--modes', 'float32,float16', '--parts', 'unet'];
  if (!existsSync(folder)) return none(`torch was not asked: there is no ${folder}`);
  const { code, stdout, stderr } = await python(folder, [...args, '--seconds', String(time)], time + slack);
  if (code === 'missing') return none('torch is not here (no python3)');
  if (code !== 0)
    return none(`torch's replay ended with ${code}: ${stderr.trim().split('\n').at(-1)?.slice(0, 200)}`);
  return peerOf(settings, JSON.parse(stdout) as TorchReport, comparable);
}

/** What a report of the replay says of each setting. */
export function peerOf(settings: readonly ImageSetting[], report: TorchReport, comparable: boolean): Peer {
  if (report.missing) return none(`torch is not here: ${report.missing}`);
  const { torch = '', rows = [] } = report;
  if (!comparable)
    return none(`torch ${torch} is here, but its replay is Stable Diffusion 1.5 at 512x512, another work`);
  const stepMs: Record<string, number> = {};
  for (const { name, mode, autotune, traced } of settings) {
    const row = rows.find(
      (r) =>
        r.section === 'unet' &&
        r.mode === mode.name &&
        r.run === (traced ? 'graph' : 'eager') &&
        r.cudnnBenchmark === (autotune === 'full'),
    );
    if (row) stepMs[name] = row.ms.median;
  }
  return {
    note: `torch ${torch}: a UNet step, always channels last and with fused attention; traced rows as a CUDA graph`,
    stepMs,
  };
}

const none = (note: string): Peer => ({ note, stepMs: {} });
