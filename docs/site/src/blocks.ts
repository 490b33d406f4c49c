// The code blocks of the site's pages and of the packages' READMEs, as programs: what a test compiles, and what it runs.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const pages = fileURLToPath(new URL('../pages/', import.meta.url));

/** A block in TypeScript, and the program that it is part of. */
export interface Block {
  /** Page and line, as in 'ko/getting-started.md:12'. */
  readonly name: string;
  readonly text: string;
  /** Marked to be run, which needs a CPU alone. */
  readonly runs: boolean;
  /** The block behind the lines that its page begins with, if it has such: a program of its own. */
  readonly program: string;
}

/** Names of the pages, from `pages/`. */
export const pageNames: readonly string[] = readdirSync(pages, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.md'))
  .sort();

const packages = fileURLToPath(new URL('../../../packages/', import.meta.url));
/** The packages' READMEs by name, as in 'core/README.md'. */
export const readmes: ReadonlyMap<string, string> = new Map(
  readdirSync(packages)
    .map((name) => `${name}/README.md`)
    .filter((name) => existsSync(join(packages, name)))
    .map((name) => [name, readFileSync(join(packages, name), 'utf8')]),
);

/** The text of a page. */
export const pageText = (name: string): string => readFileSync(join(pages, name), 'utf8');

/**
 * The TypeScript blocks of a page's text. A fence says `ts`, then `run` for what runs on a CPU, then `setup` for the
 * block that stands before all others of the page.
 */
export function blocksOf(name: string, text: string): Block[] {
  const found = [...text.matchAll(/^```ts\b(.*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    line: text.slice(0, match.index).split('\n').length,
    words: match[1]!.trim().split(/\s+/),
    text: match[2]!,
  }));
  const setup = found.find(({ words }) => words.includes('setup'));
  return found.map((block) => ({
    name: `${name}:${block.line}`,
    text: block.text,
    runs: block.words.includes('run'),
    program: setup && setup !== block ? joined(setup.text, block.text) : `${block.text}export {};\n`,
  }));
}

/** A program with the steps of its pictures cut to two, so that all of them run within a minute. */
export const shortened = (program: string): string =>
  program.replace(/numInferenceSteps: \d+/g, 'numInferenceSteps: 2');

/** Two parts of one program; the second frees the device of the first. */
function joined(setup: string, block: string): string {
  return `${setup}\n${block}\npipe.dispose();\ndevice[Symbol.dispose]();\nexport {};\n`;
}
