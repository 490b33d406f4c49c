// Cases of kind 'tokenizer': a JSON list of texts with the ids of transformers' CLIPTokenizer.

import { clipTokenizerFromFiles } from '@darkroom/diffusers';
import type { ClipTokenizer, ModelFiles } from '@darkroom/diffusers';
import type { CaseContext, CaseResult } from './context.ts';

interface TokenizerCase {
  readonly tokenizer: string;
  readonly text: string;
  readonly ids: readonly number[];
  readonly ids77: readonly number[];
  readonly mask77: readonly number[];
}

/** Tokenizer paths count from the goldens root ("public/models/…"), one level above the case folder. */
function folderOf(path: string): string {
  return path.split('/').slice(1).join('/');
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((v, i) => v === b[i]);

export async function runTokenizer(context: CaseContext): Promise<CaseResult> {
  const files: ModelFiles = context.files;
  const cases = JSON.parse(await files.readText(context.test.file)) as TokenizerCase[];
  const tokenizers = new Map<string, ClipTokenizer>();
  const wrong: string[] = [];
  for (const { tokenizer: path, text, ids, ids77, mask77 } of cases) {
    const tokenizer = tokenizers.get(path) ?? (await clipTokenizerFromFiles(files, folderOf(path)));
    tokenizers.set(path, tokenizer);
    const got = tokenizer.encode(text);
    const full = tokenizer.encodeFull(text);
    if (!same(full, ids) || !same(got.ids, ids77) || !same(got.attentionMask, mask77)) {
      wrong.push(
        `${path}: ${JSON.stringify(text)} gives ${full.slice(0, 12).join(' ')}, reference ${ids.slice(0, 12).join(' ')}`,
      );
    }
  }
  return wrong.length === 0
    ? 'passed'
    : { failure: `${wrong.length} of ${cases.length} texts differ; ${wrong[0]}` };
}
