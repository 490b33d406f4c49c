// The prepare command: cubins for a machine whose GPU is at hand for minutes only.

import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { plan } from './plan.ts';
import { prepare } from './prepare.ts';

const here = dirname(fileURLToPath(import.meta.url));
/** Stages that open no device here: facts of the machine, and torch's own work. */
const without = /^(machine|box|torch|racecheck|memcheck)/;

export function prepareCommand(): Command {
  return new Command('prepare')
    .description("fills a folder with the cubins that verify's stages ask for; needs NVRTC and no GPU")
    .argument('<goldens>', 'folder with manifest.json')
    .argument('<cache>', 'folder of the cubins: DARKROOM_CACHE/cuda on the machine with the GPU')
    .option('--model <dir>', 'a small real model', join(here, '../../../../models/emoji-64'))
    .option('--runs <n>', 'random cases of each kind of op, as given to verify', Number, 20)
    .option('--only <text>', 'only stages whose name contains this')
    .action(
      async (goldens: string, cache: string, options: { model: string; runs: number; only?: string }) => {
        mkdirSync(cache, { recursive: true });
        const stages = plan.filter((s) => !without.test(s.name) && s.name.includes(options.only ?? ''));
        const { model, runs } = options;
        await prepare(
          stages,
          { device: 'cuda', goldens, model, runs, torch: '', results: cache, tiny: false, quick: false },
          cache,
          ({ stage, cubins, seconds, ended }) =>
            process.stdout.write(
              `${stage.padEnd(28)} ${String(cubins).padStart(5)} cubins  ${seconds.toFixed(0).padStart(4)} s  ${(ended ?? '').slice(0, 120)}\n`,
            ),
        );
      },
    );
}
