<?php
/**
 * Tests of Guest.php, without Bitrix, against a recorder of requests.
 *
 *     php compat/php/tests/guest_test.php
 */

use Pullgate\Guest;

require __DIR__ . '/cases.php';
require __DIR__ . '/recorded.php';
require __DIR__ . '/../Guest.php';

const MESSAGE = ['module_id' => 'shop', 'command' => 'hello', 'params' => ['a' => 1]];

/** What the call threw, with what lastError() says of it. */
function thrown(callable $call)
{
    try {
        return $call();
    } catch (InvalidArgumentException $error) {
        return [$error->getMessage(), Guest::lastError() === $error->getMessage()];
    }
}

/** The result, 0 or 3 for the seconds it took (machines are busy), and the error without the address in it. */
function timed(callable $call)
{
    $began = microtime(true);
    $result = $call();
    $took = microtime(true) - $began;
    return [$result, $took < 2 ? 0 : ($took > 2.9 && $took < 5 ? 3 : $took), preg_replace('~(tcp|unix)://\S+:~', 'ADDRESS:', Guest::lastError())];
}

$cases = [
    'a message' => [
        [true, '', ['POST /bitrix/pub/?USER_ID=-17 HTTP/1.0'], '86400', 'text/plain; charset=utf-8', 'close', true],
        function () {
            $recorder = new Recorded(['200']);
            $sent = Guest::send([-17], MESSAGE);
            $headers = $recorder->requests()[0]['headers'];
            return [$sent, Guest::lastError(), $recorder->lines(), $headers['message-expiry'], $headers['content-type'],
                $headers['connection'], $headers['host'] === $recorder->address];
        },
    ],
    'the body is the module\'s' => [
        [
            ['module_id', 'command', 'params', 'extra'],
            ['shop', 'hello', ['a' => 1]],
            ['server_time', 'server_time_unix', 'server_name', 'revision_web', 'revision_mobile'],
            ['', 19, 3, true, true],
        ],
        function () {
            $recorder = new Recorded(['200']);
            Guest::send([-17], ['module_id' => ' Shop ', 'command' => ' hello '] + MESSAGE);
            $body = $recorder->bodies()[0];
            $extra = $body['extra'];
            return [
                array_keys($body),
                [$body['module_id'], $body['command'], $body['params']],
                array_keys($extra),
                [$extra['server_name'], $extra['revision_web'], $extra['revision_mobile'],
                    abs(strtotime($extra['server_time']) - time()) < 5, abs($extra['server_time_unix'] - microtime(true)) < 5],
            ];
        },
    ],
    'no params are an empty array, other keys stay here' => [[[], false, 'x', 'y', 'example.org'], function () {
        $recorder = new Recorded(['200']);
        $_SERVER['SERVER_NAME'] = 'example.org';
        Guest::send([-17], ['module_id' => 'm', 'command' => 'c', 'push' => ['message' => 'for phones'],
            'extra' => ['revision_web' => 'x', 'mine' => 'y']]);
        $body = $recorder->bodies()[0];
        return [$body['params'], isset($body['push']), $body['extra']['revision_web'], $body['extra']['mine'],
            $body['extra']['server_name']];
    }],
    'revisions of the module' => [[31, 4], function () {
        define('PULL_REVISION_WEB', 31);
        define('PULL_REVISION_MOBILE', 4);
        $recorder = new Recorded(['200']);
        Guest::send([-17], MESSAGE);
        $extra = $recorder->bodies()[0]['extra'];
        return [$extra['revision_web'], $extra['revision_mobile']];
    }],
    'expiry' => [['0', '60', '5', '0'], function () {
        $recorder = new Recorded(['200']);
        foreach ([0, 60, '5', -1] as $expiry) {
            Guest::send([-17], MESSAGE + ['expiry' => $expiry]);
        }
        return array_map(function ($request) {
            return $request['headers']['message-expiry'];
        }, $recorder->requests());
    }],
    'text of any kind arrives' => [['Привет', "\u{1F600}", "a\u{FFFD}b", "\u{2028}</script>\r\n", '#!NGINXNME!##!NGINXNMS!#{}', '\\#!NGINXNME!#'], function () {
        $recorder = new Recorded(['200']);
        $params = ['Привет', "\u{1F600}", "a\xffb", "\u{2028}</script>\r\n", '#!NGINXNME!##!NGINXNMS!#{}', '\\#!NGINXNME!#'];
        Guest::send([-17], ['params' => $params] + MESSAGE);
        return $recorder->bodies()[0]['params'];
    }],
    'no text ends its frame' => [0, function () {
        $recorder = new Recorded(['200']);
        Guest::send([-17], ['params' => ['#!NGINXNME!#', '#!NGINXNMS!#' => 1], 'command' => '#!NGINXNME!#'] + MESSAGE);
        return preg_match('/#!NGINXNM|[\r\n]/', $recorder->requests()[0]['body']);
    }],
    'many guests' => [[true, [100, 100, 50], '-1', '-250', 1], function () {
        $recorder = new Recorded(['200']);
        $sent = Guest::send(array_merge(range(-1, -250), ['-1', -250]), MESSAGE);
        $numbers = $recorder->numbers();
        $bodies = array_unique(array_column($recorder->requests(), 'body'));
        return [$sent, array_map('count', $numbers), $numbers[0][0], $numbers[2][49], count($bodies)];
    }],
    'no guests' => [[true, []], function () {
        $recorder = new Recorded(['200']);
        return [Guest::send([], MESSAGE), $recorder->lines()];
    }],
    'all guests' => [[true, ['POST /bitrix/pub/?USER_ID=0 HTTP/1.0']], function () {
        $recorder = new Recorded(['200']);
        return [Guest::sendToAll(MESSAGE), $recorder->lines()];
    }],
    'a refused hundred does not keep the others back' => [[false, 'pullgate at ADDRESS: 400 no such guest', 3], function () {
        $recorder = new Recorded(['400 no such guest', '200']);
        list($sent, , $error) = timed(function () {
            return Guest::send(range(-1, -250), MESSAGE);
        });
        return [$sent, $error, count($recorder->lines())];
    }],
    'a server in trouble is not asked again' => [[false, 'pullgate at ADDRESS: 500 oh', 1], function () {
        $recorder = new Recorded(['500 oh', '200']);
        list($sent, , $error) = timed(function () {
            return Guest::send(range(-1, -250), MESSAGE);
        });
        return [$sent, $error, count($recorder->lines())];
    }],
    '503 is asked once more' => [[true, '', 2, false, 4], function () {
        $recorder = new Recorded(['503 starting', '200', '503 starting', '503 starting', '200']);
        $first = Guest::send([-17], MESSAGE);
        $error = Guest::lastError();
        $requests = count($recorder->lines());
        return [$first, $error, $requests, Guest::send([-17], MESSAGE), count($recorder->lines())];
    }],
    'an error is forgotten by the next success' => [[false, true, ''], function () {
        new Recorded(['400 no', '200']);
        return [Guest::send([-17], MESSAGE), Guest::send([-17], MESSAGE), Guest::lastError()];
    }],
    'nobody listens' => [[false, 0, 'pullgate at ADDRESS: no connection: Connection refused'], function () {
        putenv('PULLGATE_PUBLISH_URL=http://127.0.0.1:1');
        return timed(function () {
            return Guest::send(range(-1, -1000), MESSAGE);
        });
    }],
    'closed without an answer' => [[false, 0, 'pullgate at ADDRESS: no answer'], function () {
        new Recorded(['close']);
        return timed(function () {
            return Guest::send([-17], MESSAGE);
        });
    }],
    'no answer' => [[false, 3, 'pullgate at ADDRESS: no answer in 3 s'], function () {
        new Recorded(['silent']);
        return timed(function () {
            return Guest::send(range(-1, -1000), MESSAGE);
        });
    }],
    'a large message that nobody reads' => [[false, 3, 'pullgate at ADDRESS: no answer in 3 s'], function () {
        new Recorded(['silent']);
        return timed(function () {
            return Guest::send([-17], ['params' => [str_repeat('x', 30000000)]] + MESSAGE);
        });
    }],
    'an answer that never ends' => [[false, 3, 'pullgate at ADDRESS: no answer in 3 s'], function () {
        new Recorded(['drip']);
        return timed(function () {
            return Guest::send([-17], MESSAGE);
        });
    }],
    'a refusal before the end of the request' => [[false, 'pullgate at ADDRESS: 413 too much'], function () {
        new Recorded(['early']);
        list($sent, , $error) = timed(function () {
            return Guest::send([-17], ['params' => [str_repeat('x', 30000000)]] + MESSAGE);
        });
        return [$sent, $error];
    }],
    'unix socket' => [[true, 'localhost'], function () {
        $recorder = new Recorded(['200'], true);
        return [Guest::send([-17], MESSAGE), $recorder->requests()[0]['headers']['host']];
    }],
    'the constant outranks the environment' => [[true, 1], function () {
        $recorder = new Recorded(['200']);
        define('PULLGATE_PUBLISH_URL', getenv('PULLGATE_PUBLISH_URL') . '/');
        putenv('PULLGATE_PUBLISH_URL=http://127.0.0.1:1');
        return [Guest::send([-17], MESSAGE), count($recorder->lines())];
    }],
    'no URL' => [array_fill(0, 8, false), function () {
        return array_map(function ($url) {
            putenv("PULLGATE_PUBLISH_URL=$url");
            return Guest::send([-17], MESSAGE) || strpos(Guest::lastError(), 'PULLGATE_PUBLISH_URL: ') !== 0;
        }, ['127.0.0.1:8895', 'ftp://host', 'http://', 'http://a b', "http://a\r\nX: y", 'http://u@h', 'http://h/path', 'unix:relative']);
    }],
    'no guest\'s number' => [[], function () {
        $recorder = new Recorded(['200']);
        $numbers = [17, 0, '0', '', '-0', ' 17', "-17\r\nX: y", '-17/-18', '-1e3', -1.5, true, null, [], [-17], new stdClass(),
            -2147483648, '-9999999999999999999'];
        $accepted = array_filter($numbers, function ($number) {
            return !is_array(thrown(function () use ($number) {
                return Guest::send([-1, $number], MESSAGE);
            }));
        });
        return array_merge($accepted, $recorder->lines());
    }],
    'what is wrong with a number' => [['17 is not the number of a guest, such as -17', true], function () {
        return thrown(function () {
            return Guest::send([17], MESSAGE);
        });
    }],
    'no message' => [
        [
            ['the message has no module_id', true], ['the message has no command', true], ['the message has no command', true],
            ['the message has no module_id', true], ['params of the message is not an array', true],
            ['extra of the message is not an array', true], ['the message: Inf and NaN cannot be JSON encoded', true],
        ],
        function () {
            return array_map(function ($message) {
                return thrown(function () use ($message) {
                    return Guest::send([-17], $message);
                });
            }, [[], ['module_id' => 'm'], ['command' => ' '] + MESSAGE, ['module_id' => 7] + MESSAGE, ['params' => 'x'] + MESSAGE,
                ['extra' => 'x'] + MESSAGE, ['params' => [INF]] + MESSAGE]);
        },
    ],
    'login' => [
        [[true, true, true], array_fill(0, 2, 'POST /pullgate/login?guest=-17&channel=0123456789abcdef0123456789abcdef HTTP/1.0')],
        function () {
            $recorder = new Recorded(['200 {"moved":1}']);
            $channel = '0123456789abcdef0123456789abcdef';
            $told = [Guest::login(-17, 42, $channel), Guest::login(-17, 42, $channel, false), Guest::login(-17, 42)];
            return [$told, $recorder->lines()];
        },
    ],
    'a release when it is too late' => [['page', false, 'the number cannot be released: output has begun at '], function () {
        $script = 'echo "page "; require $argv[1]; echo json_encode(Pullgate\Guest::login(-17, 42)), " ", Pullgate\Guest::lastError();';
        $command = implode(' ', array_map('escapeshellarg', [PHP_BINARY, '-r', $script, __DIR__ . '/../Guest.php']));
        list($page, $told, $error) = explode(' ', shell_exec($command), 3);
        return [$page, json_decode($told), substr($error, 0, 51)];
    }],
    'login that is refused' => [[false, 'pullgate at ADDRESS: 400 no such guest'], function () {
        new Recorded(['400 no such guest']);
        list($told, , $error) = timed(function () {
            return Guest::login(-17, 42, str_repeat('a', 32));
        });
        return [$told, $error];
    }],
    'no login' => [
        [
            ['17 is not the number of a guest, such as -17', true], ['0 is not the number of a guest, such as -17', true],
            ['0 is not the number of a user', true], ['-1 is not the number of a user', true],
            ['a channel has 32 hex digits', true], ['a channel has 32 hex digits', true],
        ],
        function () {
            return array_map(function ($arguments) {
                return thrown(function () use ($arguments) {
                    return Guest::login(...$arguments);
                });
            }, [[17, 42], [0, 42], [-17, 0], [-17, -1], [-17, 42, 'x'], [-17, 42, str_repeat('a', 32) . "\n"]]);
        },
    ],
];

run_cases(__FILE__, $cases);
