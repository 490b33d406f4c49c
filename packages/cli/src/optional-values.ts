// Options whose value may be left out take the next word only where it reads as their value, so that none swallows the
// prompt: `--trace "a fox"` traces and draws a fox.

const optional: Readonly<Record<string, RegExp>> = {
  '--vae-tiling': /^\d+$/,
  '--attention-slicing': /^(auto|max|\d+)$/,
  '--trace': /\.json$/i,
};

/** The words of a command line with those values joined to their option, `--trace=unet.json`, or none, `--trace=`. */
export function withOptionalValues(words: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === '--') return [...out, ...words.slice(i)];
    if (!Object.hasOwn(optional, word)) out.push(word);
    else if (words[i + 1] !== undefined && optional[word]!.test(words[i + 1]!))
      out.push(`${word}=${words[++i]}`);
    else out.push(`${word}=`);
  }
  return out;
}
