// bench table, bench compare.

import { accessSync, constants, existsSync, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ArgumentError } from '@darkroom/core';
import { deviceNames, openDevice } from '@darkroom/cli/device';
import { environment, writeJson } from '../report.ts';
import { compareTables } from './compare.ts';
import { scalingSvg } from './plot.ts';
import { printCompared, printMemory, printTimes } from './print.ts';
import { readTable } from './result.ts';
import { runTable } from './run.ts';

interface Options {
  readonly device: string;
  readonly model: string;
  readonly emoji?: string;
  readonly torch?: string;
  readonly steps: number;
  readonly size?: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly threads?: number;
  readonly json?: string;
  readonly svg?: string;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const tell = (text: string): void => void process.stderr.write(`${text}\n`);

const atLeast =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < least)
      throw new InvalidArgumentError(`must be an integer of at least ${least}, got '${text}'`);
    return value;
  };

/** The guide's tables on a device. */
export function tableCommand(): Command {
  return new Command('table')
    .description("the guide's tables on this device: each setting's time and factor, attention, memory")
    .addOption(new Option('-d, --device <name>', 'where to draw').choices(deviceNames).default('auto'))
    .option('--model <model>', "emoji-64, sd15 (SD 1.5's size, random weights), a folder or a hub id", 'emoji-64')
    .addOption(new Option('--emoji <dir>', 'the folder of emoji-64, where there is no checkout').hideHelp())
    .addOption(new Option('--torch <dir>', 'the folder of replay.py, where there is no checkout').hideHelp())
    .option('--steps <n>', 'DDIM steps of a picture', atLeast(2), 4)
    .option('--size <pixels>', "width and height; default: the model's", atLeast(8))
    .option('--seconds <s>', 'about so long in all', atLeast(1), 240)
    .option('--rounds <n>', 'rounds of all rows at least', atLeast(1), 3)
    .option('--threads <n>', 'CPU threads', atLeast(1))
    .option('--json <file>', 'write everything as JSON, for bench compare')
    .option('--svg <file>', 'also measure batches and sizes; write a plot of them beside the roofline')
    .action(tableAction); // prettier-ignore
}

async function tableAction({ device, size, threads, json, svg, ...options }: Options): Promise<void> {
  // Minutes of measuring must not end at a path that cannot be written.
  for (const [name, file] of Object.entries({ json, svg })) if (file !== undefined) requireWritable(name, file);
  const result = await runTable({
    ...options,
    side: size,
    scaling: svg !== undefined,
    open: (autotune) => openDevice(device, { autotune, ...(threads !== undefined && { threads }) }),
    say: tell,
    onTimes: (times) => say(printTimes(times)),
  });
  const env = environment(result.device);
  say(`\n${printMemory(result.memory)}`);
  say(`\n${env.cpu}, ${env.cores} cores, Node ${env.node}, ${env.device}, commit ${env.commit}, ${env.date}`);
  if (json !== undefined) writeJson(json, { kind: 'table', environment: env, result });
  if (svg !== undefined)
    writeFileSync(
      svg,
      scalingSvg(result.scaling!, {
        title: `${result.model}: a step by batch and size`,
        device: `${result.device}, ${env.date.slice(0, 10)}, commit ${env.commit}`,
      }),
    );
} // prettier-ignore

/** @throws ArgumentError naming the option; touches no file */
function requireWritable(name: string, file: string): void {
  try {
    accessSync(existsSync(file) ? file : dirname(resolve(file)), constants.W_OK);
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) throw new Error('it is a folder');
  } catch (error) {
    throw new ArgumentError(`--${name}: ${file} cannot be written (${(error as Error).message})`);
  }
}

/** Two files of `bench table --json`, side by side. */
export function compareCommand(): Command {
  return new Command('compare')
    .description('two runs of bench table: rows side by side, and whether they differ beyond their spreads')
    .argument('<a>', 'a file of bench table --json')
    .argument('<b>', 'another one')
    .option('--json <file>', 'write the rows as JSON')
    .action((a: string, b: string, { json }: { json?: string }) => {
      const [first, second] = [readTable(a), readTable(b)];
      const rows = compareTables(first, second);
      say(printCompared(rows));
      say(`\na: ${first.device}\nb: ${second.device}\nno difference: p5 to p95 of both overlap`);
      if (json !== undefined) writeJson(json, { kind: 'compare', a, b, rows });
    });
}
