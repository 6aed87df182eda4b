import { type AskProvider, createAskProvider } from './provider.ts';

/** Asks a provider as the sidecar would, without one. */
export function askDirectly(url: string, apiKey: string, timeoutMs = 400): AskProvider {
  const invoke: Parameters<typeof createAskProvider>[0]['dapr']['invoke'] = async (_, request) => {
    const answer = await fetch(`${url}${request.path}`, {
      method: request.method,
      headers: { 'content-type': 'application/json', ...request.headers },
      body: JSON.stringify(request.body),
      signal: AbortSignal.timeout(request.timeoutMs),
    });
    const body = await answer.text();
    return { status: answer.status, headers: answer.headers, body, json: () => JSON.parse(body) };
  };
  return createAskProvider({ dapr: { invoke }, name: 'provider', apiKey, timeoutMs });
}
