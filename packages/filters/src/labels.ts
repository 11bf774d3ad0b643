/**
 * The value of a label, given what follows `labels` in a field path: a key with dots arrives in pieces. Undefined when there is no
 * such label; a label with an empty value is as good as absent.
 */
export function fieldOfLabels(labels: Readonly<Record<string, string>>, key: readonly string[]): string | undefined {
  if (key.length === 0) return undefined
  const name = key.join('.')
  return Object.hasOwn(labels, name) ? labels[name] || undefined : undefined
}
